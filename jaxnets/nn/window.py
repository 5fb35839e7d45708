"""Windows that slide over spatial axes: the settings that convolution and pooling share, and their checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, ArrayLike, Padding

PerAxis = int | Sequence[int]
"""One number for all spatial axes or one for each."""


def check_window(window: PerAxis, name: str = "window") -> tuple[int, ...]:
    """Return `window` as a tuple of one to three positive ints, or raise TypeError or ValueError."""
    if not isinstance(window, Sequence):
        raise TypeError(
            f"{name} must hold one size for each spatial axis, got {window!r}; write (3,), (3, 3) or (3, 3, 3)"
        )
    if not 1 <= len(window) <= 3:
        raise ValueError(f"{name} must have one to three axes, got {tuple(window)}")
    return per_axis(name, window, len(window), minimum=1)


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer)


def per_axis(name: str, value: PerAxis, rank: int, *, minimum: int) -> tuple[int, ...]:
    """Return `value` as one int for each of `rank` axes, or raise ValueError."""
    values: Any = (value,) * rank if _is_int(value) else value
    if not isinstance(values, Sequence) or len(values) != rank or not all(_is_int(v) and v >= minimum for v in values):
        raise ValueError(
            f"{name} must be an int of at least {minimum}, or {rank} of them (one for each spatial axis), got {value!r}"
        )
    return tuple(int(v) for v in values)


def resolve_padding(
    padding: Padding,
    input_sizes: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Return the padding as a pair (before, after) for each spatial axis, or raise ValueError.

    `"SAME"` pads so that there are ceil(size / stride) positions, the odd one after.

    Example:
        >>> resolve_padding("SAME", (8,), (3,), (2,), (1,))
        ((0, 1),)
        >>> resolve_padding(1, (8,), (3,), (2,), (1,))
        ((1, 1),)
    """
    rank = len(input_sizes)
    if padding == "VALID":
        return ((0, 0),) * rank
    if padding == "SAME":
        pairs = []
        for size, width, step, gap in zip(input_sizes, window, stride, dilation, strict=True):
            total = max((-(-size // step) - 1) * step + span(width, gap) - size, 0)
            pairs.append((total // 2, total - total // 2))
        return tuple(pairs)
    sides: Any = (padding,) * rank if _is_int(padding) else padding
    if isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == rank:
        pairs = [(side, side) if _is_int(side) else side for side in sides]
        in_pairs = all(isinstance(pair, Sequence) and len(pair) == 2 for pair in pairs)
        if in_pairs and all(_is_int(side) and side >= 0 for pair in pairs for side in pair):
            return tuple((int(before), int(after)) for before, after in pairs)
    raise ValueError(
        f'padding must be "SAME", "VALID", a non-negative int, or for each of the {rank} spatial axes '
        f"an int or a pair (before, after), got {padding!r}"
    )


def span(width: int, dilation: int) -> int:
    """Return how many entries a window of `width` taps spreads over."""
    return (width - 1) * dilation + 1


def output_sizes(
    input_sizes: Sequence[int],
    window: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Return how many positions the window has on each axis; ValueError if it does not fit.

    Example:
        >>> output_sizes((8,), (3,), (2,), ((0, 1),), (1,))
        (4,)
    """
    sizes = []
    settings = zip(input_sizes, window, stride, padding, dilation, strict=True)
    for axis, (size, width, step, (before, after), gap) in enumerate(settings):
        if size == 0:
            raise ValueError(f"spatial axis {axis} of x is empty, spatial sizes are {list(input_sizes)}")
        room = size + before + after - span(width, gap)
        if room < 0:
            raise ValueError(
                f"the window spans {span(width, gap)} entries (window {width}, dilation {gap}) but "
                f"spatial axis {axis} has {size}, with padding {size + before + after}; "
                'use a smaller window, larger inputs or padding="SAME"'
            )
        sizes.append(room // step + 1)
    return tuple(sizes)


class Geometry(NamedTuple):
    """How a kernel moves over its input: the settings of `jax.lax.conv_general_dilated`, one for each spatial axis.

    Attributes:
        stride: step from one position of the kernel to the next.
        padding: zeros (before, after); negative numbers crop.
        dilation: step between the taps of the kernel.
        input_dilation: step between the entries of the input, with zeros between them: the stride of a transposed
            convolution.
        groups: the number of groups of channels.
    """

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    input_dilation: tuple[int, ...]
    groups: int = 1

    def output_sizes(self, sizes: Sequence[int], kernel_size: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of the result; ValueError if the kernel does not fit."""
        dilated = [span(size, step) for size, step in zip(sizes, self.input_dilation, strict=True)]
        return output_sizes(dilated, kernel_size, self.stride, self.padding, self.dilation)

    def transposed(self, sizes: Sequence[int], kernel_size: Sequence[int]) -> Geometry:
        """Return the geometry of the transpose, the map from outputs to inputs of the sizes `sizes`.

        Example:
            >>> Geometry((2,), ((0, 0),), (1,), (1,)).transposed((5,), (3,))
            Geometry(stride=(1,), padding=((2, 2),), dilation=(1,), input_dilation=(2,), groups=1)
        """
        padding = []
        axes = zip(sizes, kernel_size, self.output_sizes(sizes, kernel_size), *self[:4], strict=True)
        for size, width, positions, step, (before, _), gap, between in axes:
            after = span(size, between) + before - span(positions, step)
            padding.append((span(width, gap) - 1 - before, after))
        return Geometry(self.input_dilation, tuple(padding), self.dilation, self.stride, self.groups)


def transposed_kernel(kernel: Array, groups: int) -> Array:
    """Flip a kernel and exchange inputs and outputs of each group: the kernel of the transposed convolution.

    Args:
        kernel: `[*kernel_size, in / groups, out]`.
        groups: the number of groups.

    Returns:
        `[*kernel_size, out / groups, in]`.
    """
    *kernel_size, fan_in, out = kernel.shape
    rank = len(kernel_size)
    flipped = jnp.flip(kernel, range(rank)).reshape(*kernel_size, fan_in, groups, out // groups)
    return jnp.moveaxis(flipped, -1, rank).swapaxes(-1, -2).reshape(*kernel_size, out // groups, groups * fan_in)


def check_spatial(x: Array, rank: int, source: str) -> None:
    """Raise ValueError unless `x` has `rank` spatial axes and a channel axis; `source` says where `rank` comes from."""
    if x.ndim < rank + 1:
        raise ValueError(
            f"x must have {rank} spatial axes and one of channels, [..., *spatial, channels], for "
            f"{source}, got x {list(x.shape)}"
        )


def pad_spatial(x: Array, padding: Sequence[tuple[int, int]], value: ArrayLike) -> Array:
    """Pad the spatial axes of `[batch, *spatial, channels]`."""
    if not any(before or after for before, after in padding):
        return x
    config = [(0, 0, 0), *((before, after, 0) for before, after in padding), (0, 0, 0)]
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), config)


def window_slices(x: Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Iterator[Array]:
    """Yield for each offset in the window, in row-major order, what all positions of the window see there.

    Args:
        x: `[batch, *spatial, channels]`, padded.
        window: taps on each spatial axis.
        stride: on each spatial axis.
        dilation: on each spatial axis.

    Yields:
        `[batch, *positions, channels]`.

    Example:
        >>> x = jnp.arange(4.0).reshape(1, 4, 1)
        >>> [part.ravel().tolist() for part in window_slices(x, (2,), (1,), (1,))]
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    """
    sizes = output_sizes(x.shape[1:-1], window, stride, [(0, 0)] * len(window), dilation)
    for offset in np.ndindex(*window):
        first = [tap * gap for tap, gap in zip(offset, dilation, strict=True)]
        limit = [f + (size - 1) * step + 1 for f, size, step in zip(first, sizes, stride, strict=True)]
        yield jax.lax.slice(x, [0, *first, 0], [x.shape[0], *limit, x.shape[-1]], [1, *stride, 1])


def window_size(window: Sequence[int]) -> int:
    """Return the number of taps of a window."""
    return math.prod(window)
