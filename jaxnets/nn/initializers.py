"""Initializers: those of `jax.nn.initializers`, and PyTorch's defaults.

Every initializer is a function `(key, shape, dtype) -> array`.
"""

from __future__ import annotations

import math

import jax
from jax.nn.initializers import (
    constant,
    delta_orthogonal,
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
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)

from jaxnets.types import Array, DTypeLike, Initializer, Key

__all__ = [
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
