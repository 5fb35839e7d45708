"""Fast forms of embeddings: gradients of rows as products on TPU, scores in aligned rows on GPU, of one row on CPU.

A TPU adds up scattered rows one after the other, and multiplies matrices fast. The fast products of NVIDIA's library in
half precision need rows that begin at multiples of 16 bytes. XLA's CPU code fuses the transposition of a table with the
product of one row and what computes the row, and loses its fast loop for that product.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path
from jaxnets.types import Array

_LARGEST = 4096
"""Rows of a table up to which a product with one-hot rows is cheap."""
_ALIGNED = 64
"""Scores of a position begin at multiples of so many numbers."""


def is_fast_by_product(table: Array) -> bool:
    """Say whether `look_up_on_tpu` is for this table."""
    return fast_path("embedding", "tpu") and table.shape[0] <= _LARGEST


@jax.custom_jvp
def look_up_on_tpu(table: Array, ids: Array) -> Array:
    """Return the rows that the page of `jaxnets.nn.embedding` says; their tangent, and so its transpose, is a product.

    Example:
        >>> look_up_on_tpu(jnp.array([[0.0, 1.0], [2.0, 3.0]]), jnp.array([1]))
        Array([[2., 3.]], dtype=float32)
    """
    rows: Array = table.at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return rows


@look_up_on_tpu.defjvp
def _tangent(primals: Any, tangents: Any) -> tuple[Array, Array]:
    table, ids = primals
    tangent = tangents[0]
    wide_ids = ids if ids.dtype.itemsize >= np.dtype(np.int32).itemsize else ids.astype(jnp.int32)
    one_hot = jax.nn.one_hot(wide_ids.reshape(-1), table.shape[0], dtype=tangent.dtype)
    rows = jnp.matmul(one_hot, tangent, precision=jax.lax.Precision.HIGHEST)  # exact: TPUs would round to bfloat16
    return look_up_on_tpu(table, ids), rows.reshape((*ids.shape, table.shape[1]))


def scores(rows: Array, table: Array) -> Array:
    """Multiply rows `[rows, features]` by the transposed table: `[rows, vocabulary]`.

    For products in half precision on a GPU, the table is filled with zeros to a multiple of 64 rows. On CPU one row is
    the second factor of the product, so that nothing is transposed.

    Example:
        >>> scores(jnp.array([[1.0, 1.0]]), jnp.array([[0.0, 1.0], [2.0, 3.0]]))
        Array([[1., 5.]], dtype=float32)
    """
    missing = -table.shape[0] % _ALIGNED
    if missing and table.dtype.itemsize == 2 and fast_path("embedding", "gpu"):
        padded = jnp.pad(table, ((0, missing), (0, 0)))
        return (rows @ padded.T)[:, : table.shape[0]]
    if isinstance(rows.shape[0], int) and rows.shape[0] == 1 and fast_path("embedding", "cpu"):
        return (table @ rows[0])[None]
    return rows @ table.T
