"""Batch normalization, with running statistics as state."""

from __future__ import annotations

import math
from collections.abc import Hashable

import jax
import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.check import compute_dtype, flatten_leading
from jaxnets.nn.normalization import check_norm, scale_and_bias_spec
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, ArrayLike, Initializer, Params, State

AxisName = Hashable | tuple[Hashable, ...]
_SAMPLE = 256
"""About so many rows tell where the mean lies."""


def batch_norm_spec(
    features: int,
    *,
    scale: bool = True,
    bias: bool = True,
    scale_init: Initializer = jax.nn.initializers.ones,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters and the state of `batch_norm`.

    Args:
        features: size of the input's last axis.
        scale: whether to learn a factor per feature.
        bias: whether to learn an offset per feature.
        scale_init: initializes the scale `[features]`; by default ones.
        bias_init: initializes the bias `[features]`; by default zeros.

    Returns:
        A spec with the parameters `scale` and `bias`, if used, and the state `mean` `[features]` (zeros), `variance`
        `[features]` (ones) and `count` `[]` (int32 zero: the number of batches in the statistics).

    Example:
        >>> sorted(batch_norm_spec(4))
        ['bias', 'count', 'mean', 'scale', 'variance']
    """
    zeros, ones = jax.nn.initializers.zeros, jax.nn.initializers.ones
    return {
        **scale_and_bias_spec(features, scale=scale, bias=bias, scale_init=scale_init, bias_init=bias_init),
        "mean": ArraySpec((features,), zeros, axes=("features",), is_state=True),
        "variance": ArraySpec((features,), ones, axes=("features",), is_state=True),
        "count": ArraySpec((), zeros, dtype=jnp.int32, is_state=True),
    }


@layer
def batch_norm(
    params: Params,
    state: State,
    x: Array,
    *,
    train: bool,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    warm_up: bool = True,
    unbiased: bool = True,
    mask: Array | None = None,
    axis_name: AxisName | None = None,
) -> tuple[Array, State]:
    """Normalize every feature over the batch: $y = scale (x - mean) / sqrt(var + epsilon) + bias$.

    In training, mean and biased variance are those of the batch, over all axes except the last. In evaluation they are
    the running statistics of the state, which each training batch (of m values per feature) updates:

    $mean <- (1 - w) mean + w batch_mean$
    $variance <- (1 - w) variance + w m / (m - 1) batch_variance$

    with $w = max(1 - momentum, 1/n)$ at batch n. The $1/n$ (`warm_up`) makes them exact averages over the first batches
    (ten at momentum 0.9), without a bias toward the initial values 0 and 1; later they are moving averages.
    `momentum=1.0` averages over all batches: the mean of batch means and $m/(m - 1)$ times the mean of batch variances,
    as in the paper's Algorithm 2. Before training they are 0 and 1.

    Args:
        params: `scale` `[features]` and `bias` `[features]`, if used.
        state: `mean` `[features]`, `variance` `[features]` and `count` `[]`.
        x: `[..., features]`, floating point.
        train: True normalizes by the batch and updates the state, False uses the state.
        momentum: weight of the old running statistics: $new = momentum old + (1 - momentum) batch$.
        epsilon: added to the variance.
        warm_up: whether to average the first batches, see above; False gives every batch the weight 1 - momentum.
        unbiased: whether the running variance uses the unbiased estimate, $m / (m - 1)$ times the batch variance.
        mask: booleans `[...]` (the shape of `x` without features), False where `x` is padding. Padding is excluded
            from the statistics and gives zeros; a batch with fewer than two unmasked values does not change the state.
        axis_name: one or more names of axes (of `jax.pmap`, `jax.shard_map` or `jax.vmap`) over which the batch is
            divided: the statistics are those of the whole batch. Without it each device uses its own.

    Returns:
        `(y, new_state)`: `[..., features]` in the dtype of `x`, and the new state; in evaluation it is `state`.

    Raises:
        ValueError: if the last axis of `x` does not fit, or if a training batch has fewer than two values per feature.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, state = init(batch_norm_spec(1), jax.random.key(0))
        >>> y, state = batch_norm(params, state, jnp.array([[1.0], [3.0]]), train=True, epsilon=0.0)
        >>> y.ravel(), state["mean"], state["variance"]
        (Array([-1.,  1.], dtype=float32), Array([2.], dtype=float32), Array([2.], dtype=float32))

    Reference:
        Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
        2015.

    Warning:
        PyTorch's `momentum` is the weight of the new batch, 1 - momentum here, and its default 0.1 is 0.9 here. With
        `warm_up=False` the results are PyTorch's; its `momentum=None` is `momentum=1.0` with `warm_up=True`. Flax's
        momentum has the meaning of this one, default 0.99, and its running variance is biased: `warm_up=False,
        unbiased=False`. To continue from other running statistics, set `count` to at least 1 / (1 - momentum): at 0
        the first training batch replaces them.
    """
    _check_arguments(params, state, x, mask)
    dtype = compute_dtype(x)
    rows = flatten_leading(x)[0].astype(dtype)
    valid = None if mask is None else mask.reshape((-1, 1))
    if valid is not None:
        rows = jnp.where(valid, rows, 0)  # so padding of any value, even NaN, does not affect the gradient
    if train:
        number = _count_values(x, valid, axis_name)
        one_pass = x.dtype == jnp.bfloat16
        centered, mean, variance = _statistics(rows, valid, number, axis_name, one_pass=one_pass)
        new_state = _updated(state, mean, variance, number, momentum, warm_up, unbiased)
    else:
        variance, new_state = state["variance"].astype(dtype), state
        centered = rows - state["mean"].astype(dtype)[None]
    factor = jax.lax.rsqrt(variance + epsilon)
    if "scale" in params:
        factor = factor * params["scale"].astype(dtype)
    y = centered * factor[None]
    if "bias" in params:
        y = y + params["bias"].astype(dtype)[None]
    if valid is not None:
        y = jnp.where(valid, y, 0)
    return y.astype(x.dtype).reshape(x.shape), new_state


def _check_arguments(params: Params, state: State, x: Array, mask: Array | None) -> None:
    if not isinstance(state, dict) or not {"mean", "variance", "count"} <= set(state):
        held = f"a dict of {sorted(state)}" if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"state must hold mean, variance and count, got {held}; pass this layer's state from init(spec, key)"
        )
    check_norm({**params, "mean": state["mean"], "variance": state["variance"]}, x)
    if mask is not None and (mask.shape != x.shape[:-1] or mask.dtype != jnp.bool_):
        raise ValueError(
            f"mask must be bool {list(x.shape[:-1])} for x {list(x.shape)}, got {mask.dtype} {list(mask.shape)}"
        )


def _count_values(x: Array, valid: Array | None, axis_name: AxisName | None) -> ArrayLike:
    """The number of values per feature in the whole batch: an int, or traced with a mask."""
    slots = math.prod(x.shape[:-1])
    if axis_name is not None:
        slots = jax.lax.psum(slots, axis_name)  # of an int: an int
    if slots < 2:
        raise ValueError(
            f"training needs at least two values per feature for a variance, got x {list(x.shape)}; "
            "use a larger batch, or layer_norm or group_norm"
        )
    if valid is None:
        return slots
    return _total(jnp.sum(valid), axis_name)


def _statistics(
    rows: Array, valid: Array | None, number: ArrayLike, axis_name: AxisName | None, *, one_pass: bool
) -> tuple[Array, Array, Array]:
    """The rows without their mean, and mean and biased variance `[features]` of the valid rows of the whole batch.

    What is squared and what is returned is one array, so that its gradient is summed over the rows once.

    In one pass, which GPUs and TPUs fuse, the variance is a difference of squares. It keeps its digits where what is
    squared is small, so the mean of some rows is subtracted first.
    """
    if not one_pass:
        mean = _mean(rows, valid, number, axis_name)
        centered = rows - mean[None]
        return centered, mean, _mean(centered * centered, valid, number, axis_name)
    step = max(1, len(rows) // _SAMPLE)
    some = None if valid is None else valid[::step]
    count = len(rows[::step]) if some is None else _total(jnp.sum(some), axis_name)
    near = jax.lax.stop_gradient(_mean(rows[::step], some, count, axis_name))
    moved = rows - near[None]
    distance = _mean(moved, valid, number, axis_name)
    squares = _mean(moved * moved, valid, number, axis_name)
    mean = near + distance
    return rows - mean[None], mean, jnp.maximum(squares - distance * distance, 0)


def _mean(rows: Array, valid: Array | None, number: ArrayLike, axis_name: AxisName | None) -> Array:
    """Mean `[features]` over the valid rows of the whole batch; 0 if there are none."""
    if valid is None:
        mean = jnp.mean(rows, axis=0)
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name)
    total = _total(jnp.sum(jnp.where(valid, rows, 0), axis=0), axis_name)
    return total / jnp.maximum(number, 1).astype(rows.dtype)


def _total(x: Array, axis_name: AxisName | None) -> Array:
    return x if axis_name is None else jax.lax.psum(x, axis_name)


def _updated(
    state: State, mean: Array, variance: Array, number: ArrayLike, momentum: float, warm_up: bool, unbiased: bool
) -> State:
    """The state after a batch with these statistics over `number` values per feature."""
    enough = jnp.asarray(number) >= 2
    count = state["count"] + enough.astype(state["count"].dtype)
    weight = jnp.asarray(1 - momentum, state["mean"].dtype)
    if warm_up:
        weight = jnp.maximum(weight, 1 / jnp.maximum(count, 1).astype(weight.dtype))
    weight = jnp.where(enough, weight, 0)
    if unbiased:
        values = jnp.asarray(number, variance.dtype)
        variance = variance * (values / jnp.maximum(values - 1, 1))

    def moved(old: Array, new: Array) -> Array:
        return old + weight.astype(old.dtype) * (new.astype(old.dtype) - old)

    return {"mean": moved(state["mean"], mean), "variance": moved(state["variance"], variance), "count": count}
