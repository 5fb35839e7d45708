"""Normalization by the statistics of each example: layer, RMS, group, instance and local response norm.

Inputs are channels-last, computations in at least float32 (float64 for float64 inputs), results in the input's dtype.
Variances use a second pass over $x - mean$, never $E[x^2] - E[x]^2$, which loses all digits if the mean is large
compared with the standard deviation. Batch norm, which has state, is in `jaxnets.nn.batch_norm`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxnets.kernels.rows import add_bias, scale_features
from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, compute_dtype, flatten_leading
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, Initializer, Params


def layer_norm_spec(
    features: int,
    *,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `layer_norm`.

    Args:
        features: size of the input's last axis.
        scale: whether to learn a factor per feature.
        bias: whether to learn an offset per feature.
        scale_init: initializes the scale `[features]`; by default ones.
        bias_init: initializes the bias `[features]`; by default zeros.

    Returns:
        A spec with `scale` and `bias`, if used.

    Example:
        >>> sorted(layer_norm_spec(8)), layer_norm_spec(8, scale=False, bias=False)
        (['bias', 'scale'], {})
    """
    return scale_and_bias_spec(features, scale=scale, bias=bias, scale_init=scale_init, bias_init=bias_init)


@layer
def layer_norm(params: Params, x: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalize every vector along the last axis: $y = scale (x - mean(x)) / sqrt(var(x) + epsilon) + bias$.

    `var` is the biased variance, $mean((x - mean(x))^2)$.

    Args:
        params: `scale` `[features]` and `bias` `[features]`, if used.
        x: `[..., features]`, floating point.
        epsilon: added to the variance.

    Returns:
        `[..., features]`, in the dtype of `x`.

    Raises:
        ValueError: if the last axis of `x` does not fit the parameters.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> layer_norm({"scale": jnp.ones(2)}, jnp.array([[1.0, 3.0]]), epsilon=0.0)
        Array([[-1.,  1.]], dtype=float32)

    Reference:
        Ba, Kiros, Hinton: Layer Normalization, 2016.

    Warning:
        PyTorch's epsilon is 1e-5 too, Flax's 1e-6.
    """
    check_norm(params, x)
    rows, _ = flatten_leading(x)
    wide = rows.astype(compute_dtype(x))
    centered = wide - jnp.mean(wide, axis=1, keepdims=True)
    variance = jnp.mean(centered * centered, axis=1, keepdims=True)
    normalized = centered * jax.lax.rsqrt(variance + epsilon)
    return scale_and_bias(params, normalized.reshape(x.shape)).astype(x.dtype)


def rms_norm_spec(features: int, *, scale: bool = True, scale_init: Initializer = jax.nn.initializers.ones) -> Spec:
    """Describe the parameters of `rms_norm`.

    Args:
        features: size of the input's last axis.
        scale: whether to learn a factor per feature.
        scale_init: initializes the scale `[features]`; by default ones.

    Returns:
        A spec with `scale`, if used.

    Example:
        >>> rms_norm_spec(8)["scale"].shape
        (8,)
    """
    return scale_and_bias_spec(features, scale=scale, bias=False, scale_init=scale_init)


@layer
def rms_norm(params: Params, x: Array, *, epsilon: float = 1e-6) -> Array:
    """Divide every vector along the last axis by its root mean square: $y = scale x / sqrt(mean(x^2) + epsilon)$.

    Args:
        params: `scale` `[features]`, if used.
        x: `[..., features]`, floating point.
        epsilon: added to the mean square.

    Returns:
        `[..., features]`, in the dtype of `x`.

    Raises:
        ValueError: if the last axis of `x` does not fit the parameters.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> rms_norm({}, jnp.array([[3.0, 3.0]]), epsilon=0.0)
        Array([[1., 1.]], dtype=float32)

    Reference:
        Zhang, Sennrich: Root Mean Square Layer Normalization, 2019.

    Warning:
        Flax's epsilon is 1e-6 too; PyTorch's default is the machine epsilon of the dtype. Some language models
        multiply by 1 + scale; add one to such a scale. Others round to the input's dtype before scaling; here the
        result is rounded once, at the end.
    """
    check_norm(params, x)
    rows, _ = flatten_leading(x)
    wide = rows.astype(compute_dtype(x))
    normalized = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=1, keepdims=True) + epsilon)
    return scale_and_bias(params, normalized.reshape(x.shape)).astype(x.dtype)


def group_norm_spec(
    features: int,
    *,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `group_norm`; the arguments are those of `layer_norm_spec`.

    The number of groups is a setting of `group_norm`, not of the spec.

    Example:
        >>> group_norm_spec(8)["bias"].shape
        (8,)
    """
    return scale_and_bias_spec(features, scale=scale, bias=bias, scale_init=scale_init, bias_init=bias_init)


@layer
def group_norm(params: Params, x: Array, *, groups: int, epsilon: float = 1e-5) -> Array:
    """Normalize each example's groups of adjacent channels, over the group and all positions.

    $y = scale (x - mean) / sqrt(var + epsilon) + bias$ with the biased variance of each of `groups` groups. One group
    normalizes the whole example; one group per channel is `instance_norm`.

    Args:
        params: `scale` `[channels]` and `bias` `[channels]`, if used.
        x: `[batch, ..., channels]`, floating point. The first axis is always the batch; use `jax.vmap` for more
            batch axes.
        groups: the number of groups, a divisor of `channels`.
        epsilon: added to the variance.

    Returns:
        `[batch, ..., channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` has no batch axis, its last axis does not fit the parameters or the groups, or a group
            has a single value.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> group_norm({}, jnp.array([[1.0, 3.0, 10.0, 30.0]]), groups=2, epsilon=0.0)
        Array([[-1.,  1., -1.,  1.]], dtype=float32)

    Reference:
        Wu, He: Group Normalization, 2018.

    Warning:
        PyTorch's epsilon is 1e-5 too, Flax's 1e-6.
    """
    check_norm(params, x)
    _check_batch(x)
    channels = x.shape[-1]
    if groups < 1 or channels % groups:
        raise ValueError(f"groups must divide the {channels} channels of x {list(x.shape)}, got {groups}")
    if math.prod(x.shape[1:]) == groups:
        raise ValueError(
            f"each of the {groups} groups of x {list(x.shape)} has one value, whose variance is 0; use fewer groups"
        )
    return _normalize_groups(params, x, groups, epsilon)


def instance_norm_spec(
    features: int,
    *,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `instance_norm`; the arguments are those of `layer_norm_spec`.

    Example:
        >>> instance_norm_spec(8, scale=False, bias=False)
        {}
    """
    return scale_and_bias_spec(features, scale=scale, bias=bias, scale_init=scale_init, bias_init=bias_init)


@layer
def instance_norm(params: Params, x: Array, *, epsilon: float = 1e-5) -> Array:
    """Normalize each channel of each example over all its positions.

    $y = scale (x - mean) / sqrt(var + epsilon) + bias$ with mean and biased variance over the axes between the first
    and the last.

    Args:
        params: `scale` `[channels]` and `bias` `[channels]`, if used.
        x: `[batch, *spatial, channels]`, floating point, with at least two positions. The first axis is always the
            batch; use `jax.vmap` for more batch axes.
        epsilon: added to the variance.

    Returns:
        `[batch, *spatial, channels]`, in the dtype of `x`.

    Raises:
        ValueError: if there are fewer than two positions or the last axis does not fit the parameters.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> instance_norm({}, jnp.array([[[1.0], [3.0]]]), epsilon=0.0).ravel()
        Array([-1.,  1.], dtype=float32)

    Reference:
        Ulyanov, Vedaldi, Lempitsky: Instance Normalization: The Missing Ingredient for Fast Stylization, 2016.

    Warning:
        PyTorch uses scale and bias only with `affine=True`; Flax's epsilon is 1e-6.
    """
    check_norm(params, x)
    _check_batch(x)
    if math.prod(x.shape[1:-1]) < 2:
        raise ValueError(f"x must be [batch, *spatial, channels] with two positions or more, got x {list(x.shape)}")
    return _normalize_groups(params, x, x.shape[-1], epsilon)


@layer
def local_response_norm(x: Array, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> Array:
    """Divide each channel by a function of its neighbors: $y_i = x_i / (k + alpha sum_j x_j^2)^beta$.

    The sum is over the `size` channels around i, $j = i - size // 2, ..., i + (size - 1) // 2$, as far as they exist.

    Args:
        x: `[..., channels]`, floating point.
        size: the number of channels in the sum.
        alpha: factor of the sum.
        beta: the exponent.
        k: constant that keeps the denominator positive.

    Returns:
        `[..., channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `size` is less than 1 or `x` has no axes.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> local_response_norm(jnp.array([[1.0, 1.0, 0.0]]), size=3, alpha=1.0, beta=1.0, k=2.0)
        Array([[0.25, 0.25, 0.  ]], dtype=float32)

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012.

    Warning:
        The defaults and the formula are the paper's. PyTorch divides alpha by `size` and has k = 1: pass
        `alpha=alpha / size, k=1.0` for its result.
    """
    check_norm({}, x)
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    rows, _ = flatten_leading(x)
    wide = rows.astype(compute_dtype(x))
    channels = x.shape[-1]
    squares = jnp.pad(wide * wide, ((0, 0), (size // 2, (size - 1) // 2)))
    total = sum(squares[:, offset : offset + channels] for offset in range(size))
    return (wide * (k + alpha * total) ** -beta).astype(x.dtype).reshape(x.shape)


def scale_and_bias_spec(
    features: int,
    *,
    scale: bool,
    bias: bool,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> dict[str, ArraySpec]:
    """Describe the `scale` and `bias` `[features]` of a normalization layer, if used."""
    spec = {}
    if scale:
        spec["scale"] = ArraySpec((features,), scale_init, axes=("features",))
    if bias:
        spec["bias"] = ArraySpec((features,), bias_init, axes=("features",))
    return spec


def scale_and_bias(params: Params, normalized: Array) -> Array:
    """Multiply `[..., features]` by `scale` and add `bias`, if `params` has them, keeping its dtype."""
    if "scale" in params:
        normalized = scale_features(normalized, params["scale"].astype(normalized.dtype))
    if "bias" in params:
        normalized = add_bias(normalized, params["bias"].astype(normalized.dtype))
    return normalized


def check_norm(vectors: Params, x: Array) -> None:
    """Raise unless `x` is floating point and its last axis fits each vector `[features]` of the dict `vectors`."""
    check_floating(x)
    if x.ndim == 0:
        raise ValueError("x must have a last axis of features, got a scalar")
    for name, vector in vectors.items():
        if vector.shape != x.shape[-1:]:
            raise ValueError(f"last axis must fit {name} {list(vector.shape)}, got x {list(x.shape)}")


def _check_batch(x: Array) -> None:
    if x.ndim < 2:
        raise ValueError(f"x must be [batch, ..., channels], got x {list(x.shape)}; for one example write x[None]")


def _normalize_groups(params: Params, x: Array, groups: int, epsilon: float) -> Array:
    """Normalize `[batch, ..., channels]` over all positions and the channels of each group.

    Taking the mean over positions first, then over the few remaining numbers, is up to three times faster on CPU than
    over both axes of `[batch, positions, groups, channels / groups]` at once.
    """
    batch, channels = x.shape[0], x.shape[-1]
    group_shape = (batch, groups, channels // groups)
    positions = x.astype(compute_dtype(x)).reshape((batch, math.prod(x.shape[1:-1]), channels))

    def mean(values: Array) -> Array:
        return jnp.mean(jnp.mean(values, axis=1).reshape(group_shape), axis=2)

    def for_channels(values: Array) -> Array:
        return jnp.broadcast_to(values[:, :, None], group_shape).reshape((batch, 1, channels))

    centered = positions - for_channels(mean(positions))
    normalized = centered * for_channels(jax.lax.rsqrt(mean(centered * centered) + epsilon))
    return scale_and_bias(params, normalized.reshape(x.shape)).astype(x.dtype)
