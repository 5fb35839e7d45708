"""Attention among the positions of an image."""

from __future__ import annotations

import math

import jax

from jaxnets.layer import layer
from jaxnets.nn.attention import attention, attention_spec
from jaxnets.nn.normalization import group_norm, group_norm_spec
from jaxnets.spec import Spec
from jaxnets.types import Array, Params


def image_attention_spec(channels: int, *, heads: int = 1, zero_last: bool = True) -> Spec:
    """Describe the parameters of `image_attention`.

    Args:
        channels: size of the last axis of input and result.
        heads: of attention, a divisor of `channels`.
        zero_last: whether the last product is initialized as zeros, so that the layer at first changes nothing.

    Returns:
        A spec with `norm` and `attention`.

    Raises:
        ValueError: if heads do not divide `channels`.

    Example:
        >>> image_attention_spec(32, heads=4)["attention"]["query"]["kernel"].shape
        (32, 4, 8)
    """
    attends = attention_spec(channels, heads=heads)
    if zero_last:
        zeros = jax.nn.initializers.zeros
        attends = attends | {"out": attention_spec(channels, heads=heads, kernel_init=zeros)["out"]}
    return {"norm": group_norm_spec(channels), "attention": attends}


@layer
def image_attention(params: Params, x: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
    """Let every position attend to all positions: $y = x + attention(norm(x))$, with the image as a sequence of pixels.

    Args:
        params: `norm` and `attention`, as `image_attention_spec` describes them.
        x: `[batch, *spatial, channels]`, floating point.
        groups: of the group norm, a divisor of `channels`.
        epsilon: of the norm.

    Returns:
        `[batch, *spatial, channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` does not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(image_attention_spec(8, heads=2), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (2, 4, 4, 8))
        >>> bool(jnp.all(image_attention(params, x, groups=4) == x))
        True

    Reference:
        Wang, Girshick, Gupta, He, Non-local neural networks, 2018; in a diffusion network: Ho, Jain, Abbeel, Denoising
        diffusion probabilistic models, 2020, with one head.
    """
    if x.ndim < 3:
        raise ValueError(f"x must be [batch, *spatial, channels], got {list(x.shape)}")
    normed = group_norm(params["norm"], x, groups=groups, epsilon=epsilon)
    rows = normed.reshape((x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))
    return x + attention(params["attention"], rows).reshape(x.shape)
