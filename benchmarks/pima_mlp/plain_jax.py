"""JAX alone: the program of `benchmarks/tiny_mlp`, one step per call; the last batch of an epoch has 8 examples."""

from benchmarks.tiny_mlp.plain_jax import prepare

__all__ = ["prepare"]
