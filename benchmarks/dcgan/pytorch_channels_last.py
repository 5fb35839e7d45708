"""PyTorch, eager, with images and kernels in the memory format channels_last."""

import functools

import torch

from benchmarks.dcgan import pytorch

prepare = functools.partial(pytorch.prepare, memory_format=torch.channels_last)
