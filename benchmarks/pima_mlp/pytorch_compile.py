"""torch.compile: the program of `benchmarks/tiny_mlp`, one step per call; the last batch of an epoch has 8 examples."""

from benchmarks.tiny_mlp.pytorch_compile import prepare

__all__ = ["prepare"]
