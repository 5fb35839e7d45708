"""Contrastive losses: embeddings of what belongs together are to be closer than those of the rest of the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxnets.labels import floating, largest_size, like, real
from jaxnets.types import Array, ArrayLike


def info_nce(first: ArrayLike, second: ArrayLike, log_scale: ArrayLike, *, axis_name: str | None = None) -> Array:
    """Symmetric InfoNCE loss of pairs, such as an image and its caption, with a learned temperature.

    With the cosines $c_ij$ of $first_i$ and $second_j$, and the scale $s = exp(log_scale)$, the inverse of the
    temperature: $loss_i = -(log softmax_j(s c_ij) + log softmax_j(s c_ji)) / 2$ at $j = i$. Each embedding is to find
    the one it belongs to among all of the batch, both ways.

    Args:
        first: `[batch, features]`, floating point, of any length: rows are divided by their norms here.
        second: `[batch, features]`; row i belongs to row i of `first`.
        log_scale: a scalar, usually a parameter that starts at log(1 / 0.07). CLIP keeps the scale below 100:
            `jnp.minimum(log_scale, jnp.log(100.0))`.
        axis_name: of an axis (of `jax.pmap`, `jax.shard_map` or `jax.vmap`) over which the batch is divided. The
            embeddings of all devices are gathered, so that each is compared with all; the mean over the devices, and
            its gradient, are then those of the whole batch on one device.

    Returns:
        `[batch]`, one number a pair; those of this device. log(batch) where all embeddings are equal.

    Raises:
        ValueError: if the embeddings are not `[batch, features]` of one shape, or `log_scale` is no scalar.
        TypeError: if the first embeddings are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> embeddings = jnp.array([[2.0, 0.0], [0.0, 3.0]])
        >>> print(f"{info_nce(embeddings, embeddings, jnp.log(3.0))[0]:.4f}")  # log(1 + exp(-3))
        0.0486

    Reference:
        van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding, 2018; Radford et al.,
        Learning transferable visual models from natural language supervision, 2021 (both ways, learned scale).

    Warning:
        In CLIP's program the model divides embeddings by their norms and the loss does not. SimCLR's NT-Xent compares
        each view with the views of both kinds, and has a fixed temperature.
    """
    rows = floating("info_nce", "first", first)
    columns = like("info_nce", "second", second, rows, "first")
    if rows.ndim != 2:
        raise ValueError(f"info_nce: first and second must be [batch, features], got {list(rows.shape)}")
    if jnp.ndim(log_scale) != 0:
        raise ValueError(f"info_nce: log_scale must be a scalar, got {list(jnp.shape(log_scale))}")
    scale = jnp.exp(real("info_nce", "log_scale", jnp.asarray(log_scale), rows.dtype))
    rows, columns = _unit(rows), _unit(columns)
    partner, all_rows, all_columns = jnp.arange(len(rows), dtype=jnp.int32), rows, columns
    if axis_name is not None:
        partner = partner + len(rows) * jax.lax.axis_index(axis_name)
        all_rows, all_columns = (jax.lax.all_gather(x, axis_name, tiled=True) for x in (rows, columns))
    losses: list[Array] = [
        optax.softmax_cross_entropy_with_integer_labels(scale * (x @ others.T), partner)
        for x, others in ((rows, all_columns), (columns, all_rows))
    ]
    return (losses[0] + losses[1]) / 2


def _unit(x: Array) -> Array:
    """Rows divided by their norms; zeros stay zeros, with finite gradients."""
    x = x / jax.lax.stop_gradient(largest_size(x))
    unit: Array = x / optax.safe_norm(x, 1e-12, axis=-1, keepdims=True)
    return unit
