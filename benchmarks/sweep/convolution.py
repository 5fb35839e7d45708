"""Convolution of square images with a bias, padded by half of the kernel."""

from __future__ import annotations

import jax
import numpy as np
import torch

from benchmarks.sweep.case import Case, Operation, Settings, draw_batch, draw_integer, pairs, ranges
from jaxnets import nn

CHANNELS = (1, 256)


def draw(row: tuple[int, int], column: tuple, generator: np.random.Generator) -> Settings:
    (kernel, stride), (channels, sizes) = row, column
    size, fan_in, out = (draw_integer(within, generator) for within in (sizes, CHANNELS, channels))
    batch = draw_batch((size // stride) ** 2 * kernel**2 * fan_in * out, generator)
    return {"kernel": kernel, "stride": stride, "batch": batch, "size": size, "in_channels": fan_in, "channels": out}


def make_case(*, kernel: int, stride: int, batch: int, size: int, in_channels: int, channels: int) -> Case:
    padding = kernel // 2

    def ours(kernel, bias, x):
        return nn.conv({"kernel": kernel, "bias": bias}, x, stride=stride, padding=padding)

    def plain(kernel, bias, x):
        sides = [(padding, padding)] * 2
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), sides, dimension_numbers=layout) + bias

    def theirs(kernel, bias, x):
        return torch.nn.functional.conv2d(x, kernel, bias, stride=stride, padding=padding)

    programs = {"jaxnets": ours, "jax": plain, "pytorch": theirs, "pytorch channels_last": theirs}
    if kernel == 1 and stride > 1 and in_channels < 16:
        del programs[
            "pytorch channels_last"
        ]  # its gradient in PyTorch 2.13 writes where it must not, and the process ends
    return Case(
        shapes={
            "kernel": (kernel, kernel, in_channels, channels),
            "bias": (channels,),
            "x": (batch, size, size, in_channels),
        },
        programs=programs,
        torch_axes={"kernel": (3, 2, 0, 1), "x": (0, 3, 1, 2), "y": (0, 3, 1, 2)},
    )


OPERATION = Operation(
    title="Convolution: kernel and stride; channels out and size",
    rows={f"{kernel} x {kernel}, stride {stride}": (kernel, stride) for stride in (1, 2) for kernel in (1, 3, 5, 7)},
    columns=pairs(ranges(1, 8, 32, 96, 256), ranges(8, 16, 32, 64)),
    draw=draw,
    case=make_case,
)
