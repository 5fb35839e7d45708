"""PyTorch, the network under torch.compile, as nanoGPT does by default."""

import functools

import torch

from benchmarks.nanogpt import pytorch

prepare = functools.partial(pytorch.prepare, compiled=torch.compile)
