"""PyTorch with its fused Adam."""

import functools

from benchmarks.pima_mlp import pytorch

prepare = functools.partial(pytorch.prepare, fused=True)
