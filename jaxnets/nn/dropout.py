"""Dropout of entries, of channels and of examples.

`rate` is always the probability to drop. It may be traced, so one compiled program works for many rates. Each entry
takes 16 random bits, so the rate is rounded to a multiple of 1/65,536; 0 and 1 are exact. The bits are the same for
every input dtype: the same key drops the same entries.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, check_rate, compute_dtype, require_key
from jaxnets.types import Array, Key


@layer
def dropout(x: Array, rate: float | Array, *, key: Key | None = None, train: bool) -> Array:
    """Set each entry to zero with probability `rate` in training, and divide the others by 1 - rate.

    $y = x m / (1 - rate)$ with $m = 1$ with probability $1 - rate$, else 0, so the mean of y is x. In evaluation
    $y = x$. Applied to a network's inputs, it trains the network not to rely on single features.

    Args:
        x: `[...]`, floating point.
        rate: the probability to drop, in [0, 1].
        key: a typed PRNG key, needed in training unless `rate` is the number 0.
        train: whether to drop.

    Returns:
        `[...]`, in the dtype of `x`.

    Raises:
        ValueError: if `rate` is not in [0, 1], or without a key where one is needed.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = dropout(jnp.ones(100), 0.5, key=jax.random.key(0), train=True)
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
        >>> dropout(jnp.ones(3), 0.5, train=False)
        Array([1., 1., 1.], dtype=float32)

    Reference:
        Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov: Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting, 2014.
    """
    _check(x, rate)
    return x if not train else _drop("dropout", x, rate, key, x.shape)


@layer
def classic_dropout(x: Array, rate: float | Array, *, key: Key | None = None, train: bool) -> Array:
    """Set each entry to zero with probability `rate` in training; multiply all by 1 - rate in evaluation.

    The first published form of dropout: $y = x m$ in training, $y = (1 - rate) x$ in evaluation. In both the mean is
    1 - rate times that of `dropout`, so networks trained with either differ only in the scale of the weights after it.

    Args:
        x: `[...]`, floating point.
        rate: the probability to drop, in [0, 1].
        key: a typed PRNG key, needed in training unless `rate` is the number 0.
        train: whether to drop.

    Returns:
        `[...]`, in the dtype of `x`.

    Raises:
        ValueError: if `rate` is not in [0, 1], or without a key where one is needed.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> classic_dropout(jnp.ones(3), 0.25, train=False)
        Array([0.75, 0.75, 0.75], dtype=float32)

    Reference:
        Hinton, Srivastava, Krizhevsky, Sutskever, Salakhutdinov: Improving Neural Networks by Preventing Co-adaptation
        of Feature Detectors, 2012.

    Warning:
        PyTorch and Flax have only the other form, which is `dropout` here.
    """
    _check(x, rate)
    if train:
        return _drop("classic_dropout", x, rate, key, x.shape, rescale=False)
    wide = compute_dtype(x)
    return (x.astype(wide) * (1 - jnp.asarray(rate, wide))).astype(x.dtype)


@layer
def spatial_dropout(x: Array, rate: float | Array, *, key: Key | None = None, train: bool) -> Array:
    """Drop whole channels: each channel of each example is zero with probability `rate`, else divided by 1 - rate.

    For feature maps, whose neighboring positions are so similar that dropping single ones changes little.

    Args:
        x: `[batch, *spatial, channels]`, floating point, with at least one spatial axis.
        rate: the probability to drop, in [0, 1].
        key: a typed PRNG key, needed in training unless `rate` is the number 0.
        train: whether to drop; if not, the result is `x`.

    Returns:
        `[batch, *spatial, channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `rate` is not in [0, 1], without a key where one is needed, or if `x` has no spatial axis.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = spatial_dropout(jnp.ones((1, 2, 2, 100)), 0.5, key=jax.random.key(0), train=True)
        >>> sorted(set(y[0, 0, 0].tolist())), bool(jnp.all(y == y[:, :1, :1]))
        ([0.0, 2.0], True)

    Reference:
        Tompson, Goroshin, Jain, LeCun, Bregler: Efficient Object Localization Using Convolutional Networks, 2015.

    Warning:
        PyTorch's `Dropout1d`, `Dropout2d` and `Dropout3d` have the channels after the batch axis, and also accept `x`
        without a batch axis; here the first axis is always the batch.
    """
    _check(x, rate)
    if x.ndim < 3:
        raise ValueError(
            f"x must be [batch, *spatial, channels], got x {list(x.shape)}; use dropout, or x[None] for one example"
        )
    shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    return x if not train else _drop("spatial_dropout", x, rate, key, shape)


@layer
def drop_path(x: Array, rate: float | Array, *, key: Key | None = None, train: bool) -> Array:
    """Drop whole examples: each is zero with probability `rate`, else divided by 1 - rate (stochastic depth).

    In a residual block it skips the block for some examples: $y = x + drop_path(F(x), rate)$.

    Args:
        x: `[batch, ...]`, floating point.
        rate: the probability to drop, in [0, 1].
        key: a typed PRNG key, needed in training unless `rate` is the number 0.
        train: whether to drop; if not, the result is `x`.

    Returns:
        `[batch, ...]`, in the dtype of `x`.

    Raises:
        ValueError: if `rate` is not in [0, 1], without a key where one is needed, or if `x` has no batch axis.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y = drop_path(jnp.ones((100, 2)), 0.5, key=jax.random.key(0), train=True)
        >>> sorted({tuple(example) for example in y.tolist()})
        [(0.0, 0.0), (2.0, 2.0)]

    Reference:
        Huang, Sun, Liu, Sedra, Weinberger: Deep Networks with Stochastic Depth, 2016.

    Warning:
        torchvision calls it `stochastic_depth(mode="row")`. The paper drops a block for the whole batch and
        multiplies by 1 - rate in evaluation.
    """
    _check(x, rate)
    if x.ndim == 0:
        raise ValueError("x must be [batch, ...], got a scalar")
    return x if not train else _drop("drop_path", x, rate, key, (x.shape[0], *[1] * (x.ndim - 1)))


def _check(x: Array, rate: float | Array) -> None:
    check_floating(x)
    check_rate(rate)


def _drop(
    name: str, x: Array, rate: float | Array, key: Key | None, mask_shape: tuple[int, ...], rescale: bool = True
) -> Array:
    """Set `x` to zero by a random mask of `mask_shape` (broadcast over `x`)."""
    if not isinstance(rate, jax.core.Tracer) and rate == 0:
        return x
    key = require_key(key, "training with rate > 0")
    keep = _uniform(key, mask_shape) >= jnp.asarray(rate, jnp.float32)
    keep = checkpoint_name(keep, "dropout mask")  # a rematerialized block need not draw it again
    if rescale:
        wide = compute_dtype(x)
        rate = jnp.asarray(rate, wide)
        factor = 1 / jnp.where(rate < 1, 1 - rate, 1)  # at rate 1 nothing is left to rescale, and 0 * inf is NaN
        x = (x.astype(wide) * factor).astype(x.dtype)
    return jnp.where(keep, x, 0)


def _uniform(key: Key, shape: tuple[int, ...]) -> Array:
    """Numbers in (0, 1) of 16 random bits each, which are drawn in half the time and memory of `jax.random.uniform`."""
    *leading, last = shape or (1,)
    pairs = -(-last // 2)
    words = jax.random.bits(key, (*leading, pairs), jnp.uint32)
    bits = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape((*leading, 2 * pairs))[..., :last]
    return ((bits.astype(jnp.float32) + 0.5) / 2**16).reshape(shape)
