"""Initializers: those of `jax.nn.initializers`, and PyTorch's defaults.

Every initializer is a function `(key, shape, dtype) -> array`.
"""

from __future__ import annotations

import dataclasses
import math

import jax
from jax.nn.initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)

from jaxnets.spec import InFloat32
from jaxnets.types import Array, DTypeLike, Initializer, Key

__all__ = [
    "InLayout",
    "constant",
    "delta_orthogonal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "torch_uniform",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def torch_uniform(fan_in: int) -> Initializer:
    """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default for linear, convolution and recurrent layers.

    PyTorch writes it as `kaiming_uniform_(a=sqrt(5))` for kernels; biases use the kernel's fan-in. Recurrent layers
    use their hidden size as `fan_in` for every array.

    Args:
        fan_in: the number of inputs to one output, over the whole kernel; 0 gives zeros.

    Returns:
        An initializer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> bias = torch_uniform(fan_in=4)(jax.random.key(0), (1000,), jnp.float32)
        >>> bool(jnp.max(jnp.abs(bias)) <= 0.5)
        True
    """
    bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0

    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


@dataclasses.dataclass(frozen=True)
class InLayout:
    """An initializer for a kernel whose axes have another order than `[*kernel_size, in, out]`.

    Initializers find out by the order of the axes how many inputs an output has. So the kernel is drawn as
    `[*kernel_size, in, out]`, with the inputs of one output alone and all outputs, and then cut and turned.

    Attributes:
        initializer: draws the kernel in the usual order.
        drawn: the shape that it draws.
        cut: the shape into which that is reshaped.
        order: the axes of the result, as those of `cut`.

    Example:
        >>> draw = InLayout(he_normal(), drawn=(100, 30), cut=(100, 30), order=(1, 0))
        >>> draw(jax.random.key(0), (30, 100), jax.numpy.float32).shape
        (30, 100)
    """

    initializer: Initializer
    drawn: tuple[int, ...]
    cut: tuple[int, ...]
    order: tuple[int, ...]

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Draw the kernel; its shape is known already."""
        return self.initializer(key, self.drawn, dtype).reshape(self.cut).transpose(self.order)


def orthogonal(scale: float = 1.0, column_axis: int = -1) -> Initializer:
    """Draw a matrix with orthogonal rows or columns, as `jax.nn.initializers.orthogonal`, in every dtype.

    Args:
        scale: what the matrix is multiplied by.
        column_axis: the axis of the columns; all others are those of the rows.

    Returns:
        An initializer.

    Example:
        >>> import jax.numpy as jnp
        >>> matrix = orthogonal()(jax.random.key(0), (2, 2), jnp.float32)
        >>> jnp.round(jnp.abs(matrix @ matrix.T), 5)
        Array([[1., 0.],
               [0., 1.]], dtype=float32)

    Reference:
        Saxe, McClelland, Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear networks, 2014.
    """
    return InFloat32(jax.nn.initializers.orthogonal(scale, column_axis))


def delta_orthogonal(scale: float = 1.0, column_axis: int = -1) -> Initializer:
    """Draw an orthogonal matrix at the center of a convolution's kernel, as `jax.nn.initializers.delta_orthogonal`.

    Args:
        scale: what the matrix is multiplied by.
        column_axis: the axis of the columns.

    Returns:
        An initializer for kernels `[*kernel_size, in, out]` with no more inputs than outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = delta_orthogonal()(jax.random.key(0), (3, 3, 2, 2), jnp.bfloat16)
        >>> kernel.dtype, bool(jnp.all(kernel[0, 0] == 0))
        (dtype(bfloat16), True)

    Reference:
        Xiao et al., Dynamical isometry and a mean field theory of CNNs, 2018.
    """
    return InFloat32(jax.nn.initializers.delta_orthogonal(scale, column_axis))
