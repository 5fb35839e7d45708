"""PyTorch with torch.compile of the network."""

import functools

import torch

from benchmarks.diffusion_unet import pytorch

prepare = functools.partial(pytorch.prepare, transform=torch.compile)
