"""PyTorch with torch.compile of the layer, which leaves it to its own routine: a graph break, as it comes."""

import functools

import torch

from benchmarks.lstm import pytorch

prepare = functools.partial(pytorch.prepare, transform=torch.compile)
