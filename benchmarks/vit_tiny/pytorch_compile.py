"""PyTorch, the network under torch.compile."""

import functools

import torch

from benchmarks.vit_tiny import pytorch

prepare = functools.partial(pytorch.prepare, compiled=torch.compile)
