"""Embeddings: a table of vectors looked up by integers, and the output layer that shares the table."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxnets.kernels.embedding import is_fast_by_product, look_up_on_tpu, scores
from jaxnets.label_check import check_integers
from jaxnets.layer import layer
from jaxnets.nn.check import check_features, check_floating, compute_dtype, flatten_leading, match_dtype
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, Initializer, Params


def embedding_spec(
    vocabulary: int,
    features: int,
    *,
    embedding_init: Initializer = jax.nn.initializers.variance_scaling(1.0, "fan_out", "normal"),
    axes: tuple[str, str] = ("vocabulary", "features"),
) -> Spec:
    """Describe the parameters of `embedding` and `tied_logits`.

    Args:
        vocabulary: the number of rows: ids run from 0 to `vocabulary - 1`. Learned positions are a table with one row
            a position.
        features: size of a row.
        embedding_init: initializes the table `[vocabulary, features]`; by default normal, of variance 1/features.
        axes: the logical axes of the table, from which shardings follow; `("positions", "features")` for positions.

    Returns:
        A spec with `embedding`.

    Example:
        >>> embedding_spec(1000, 64)["embedding"].shape
        (1000, 64)
    """
    torch_init = jax.nn.initializers.normal(1.0)
    return {"embedding": ArraySpec((vocabulary, features), embedding_init, axes=axes, torch_initializer=torch_init)}


@layer
def embedding(params: Params, ids: Array) -> Array:
    """Look up the row of each id: $y = E[id]$.

    Args:
        params: `embedding` `[vocabulary, features]`.
        ids: `[...]`, integers from 0 to `vocabulary - 1`. Any other, negative ones included, gives a row of NaN:
            traced code cannot raise, and NaN shows where another row would not.

    Returns:
        `[..., features]`, in the dtype of the table, since there is no floating-point input to decide it.

    Raises:
        TypeError: if ids are not integers.
        ValueError: if they, or the table, are divided over a mesh with explicit axes.

    Example:
        >>> import jax.numpy as jnp
        >>> embedding({"embedding": jnp.array([[0.0, 1.0], [2.0, 3.0]])}, jnp.array([1, 0, 2]))
        Array([[ 2.,  3.],
               [ 0.,  1.],
               [nan, nan]], dtype=float32)

    Warning:
        PyTorch raises for an id outside the table. `jnp.take` and Flax give NaN for ids too large as well, but count
        negative ids from the end.
    """
    table = jnp.asarray(params["embedding"])
    if not hasattr(ids, "dtype"):
        raise TypeError(f"ids must be an array, got {type(ids).__name__}; write jnp.asarray(ids)")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"ids must be integers, got {ids.dtype}; write ids.astype(jnp.int32)")
    check_integers("ids", ids)
    ids = jnp.asarray(ids)
    _check_automatic(table, ids)
    if is_fast_by_product(table):
        return look_up_on_tpu(table, ids)  # the same rows
    wide = table.astype(compute_dtype(table))  # so that gradients are summed in it; bfloat16 would stop at 256 uses
    rows: Array = wide.at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return rows.astype(table.dtype)


def _check_automatic(*arrays: Array) -> None:
    for array in arrays:
        sharding = jax.typeof(array).sharding
        if AxisType.Explicit in sharding.mesh.axis_types and any(axes is not None for axes in sharding.spec):
            raise ValueError(
                f"rows cannot be looked up where {array.dtype}{list(array.shape)} is divided over explicit axes of a "
                f"mesh, {sharding.spec}; jax.make_mesh makes explicit axes unless told "
                "axis_types=(jax.sharding.AxisType.Auto,) * number_of_axes, as jaxnets.sharding.make_mesh does"
            )


@layer
def tied_logits(params: Params, x: Array) -> Array:
    """Score every row of an embedding: $y = x E^T$, the output layer that shares the table of `embedding`.

    Args:
        params: `embedding` `[vocabulary, features]`.
        x: `[..., features]`, floating point. Its dtype is the result's; the table is cast to it.

    Returns:
        `[..., vocabulary]`.

    Raises:
        ValueError: if the last axis of `x` does not fit the table.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> tied_logits({"embedding": jnp.array([[0.0, 1.0], [2.0, 3.0]])}, jnp.array([1.0, 1.0]))
        Array([1., 5.], dtype=float32)

    Reference:
        Press and Wolf, Using the Output Embedding to Improve Language Models, 2017.
    """
    check_floating(x)
    check_features(x, params["embedding"].shape[1], params["embedding"])
    (table,) = match_dtype(x, params["embedding"])
    rows, leading = flatten_leading(x)
    return scores(rows, table).reshape((*leading, table.shape[0]))
