"""Attention of recurrent decoders: one score for each query and position, by a perceptron or by a product."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.check import check_features, check_floating, compute_dtype
from jaxnets.nn.linear import linear, linear_spec
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, Initializer, Params

_MASKED = -1e30


def additive_attention_spec(
    query_features: int,
    memory_features: int,
    hidden: int,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Spec:
    """Describe the parameters of `additive_attention`.

    Args:
        query_features: size of the last axis of the queries.
        memory_features: size of the last axis of the memory.
        hidden: size of the hidden layer.
        kernel_init: initializes the kernels.

    Returns:
        A spec with `query` (a linear layer), `memory` (without bias) and `score` `[hidden]`.

    Example:
        >>> sorted(additive_attention_spec(4, 6, 5))
        ['memory', 'query', 'score']
    """
    return {
        "query": linear_spec(query_features, hidden, kernel_init=kernel_init),
        "memory": linear_spec(memory_features, hidden, bias=False, kernel_init=kernel_init),
        "score": ArraySpec((hidden,), jax.nn.initializers.normal(hidden**-0.5), axes=("in",)),
    }


@layer
def additive_attention(
    params: Params, queries: Array, memory: Array, *, mask: Array | None = None, projected: Array | None = None
) -> tuple[Array, Array]:
    """Attend by a perceptron: $a_ij = softmax_j(v . tanh(W q_i + b + U m_j))$, $c_i = sum_j a_ij m_j$.

    Args:
        params: `query`, `memory` and `score`, as `additive_attention_spec` describes them.
        queries: `[..., queries, query_features]`, floating point.
        memory: `[..., keys, memory_features]`, of the same leading axes.
        mask: bool `[..., keys]` or `[..., queries, keys]`, True where a query may attend; None for everywhere. At least
            one position must be True.
        projected: U m_j `[..., keys, hidden]`, if it is known already: `linear(params["memory"], memory)`.

    Returns:
        The contexts c `[..., queries, memory_features]` and the weights a `[..., queries, keys]`, in the dtype of the
        memory.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the queries are not floating point, or the mask is not boolean.

    Example:
        >>> from jaxnets import init
        >>> params, _ = init(additive_attention_spec(4, 6, 5), jax.random.key(0))
        >>> context, weights = additive_attention(params, jnp.ones((2, 1, 4)), jnp.ones((2, 3, 6)))
        >>> context.shape, weights.shape
        ((2, 1, 6), (2, 1, 3))

    Reference:
        Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, 2015.
    """
    _check(queries, memory)
    if projected is None:
        projected = linear(params["memory"], memory)
    elif projected.shape != (*memory.shape[:-1], *params["score"].shape):
        raise ValueError(
            f"projected must be {[*memory.shape[:-1], *params['score'].shape]}, linear(params['memory'], memory), got "
            f"{list(projected.shape)}"
        )
    hidden = jnp.tanh(linear(params["query"], queries)[..., :, None, :] + projected[..., None, :, :])
    wide = compute_dtype(queries)
    scores = hidden.astype(wide) @ params["score"].astype(wide)
    return _contexts(scores, memory, mask)


def multiplicative_attention_spec(
    query_features: int,
    memory_features: int,
    *,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Spec:
    """Describe the parameters of `multiplicative_attention`: `kernel` `[query_features, memory_features]`.

    Example:
        >>> multiplicative_attention_spec(4, 6)["kernel"].shape
        (4, 6)
    """
    shape = query_features, memory_features
    return {"kernel": ArraySpec(shape, kernel_init, axes=("in", "out"), torch_layout="matrix")}


@layer
def multiplicative_attention(
    params: Params, queries: Array, memory: Array, *, mask: Array | None = None
) -> tuple[Array, Array]:
    """Attend by a product: $a_ij = softmax_j(q_i W m_j)$, $c_i = sum_j a_ij m_j$.

    Args:
        params: `kernel` `[query_features, memory_features]`, or `{}` for the products q_i m_j themselves.
        queries: `[..., queries, query_features]`, floating point.
        memory: `[..., keys, memory_features]`, of the same leading axes.
        mask: as in `additive_attention`.

    Returns:
        The contexts c `[..., queries, memory_features]` and the weights a `[..., queries, keys]`, in the dtype of the
        memory.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the queries are not floating point, or the mask is not boolean.

    Example:
        >>> queries, memory = jnp.array([[1.0, 0.0]]), jnp.array([[500.0, 0.0], [0.0, 500.0]])
        >>> multiplicative_attention({}, queries, memory)[0]
        Array([[500.,   0.]], dtype=float32)

    Reference:
        Luong, Pham, Manning, Effective approaches to attention-based neural machine translation, 2015 (`general`, and
        `dot` without parameters).

    Warning:
        The scores are not divided by the square root of the number of features, as those of `attention` are.
    """
    _check(queries, memory)
    if "kernel" in params:
        queries = linear({"kernel": params["kernel"]}, queries)
    check_features(queries, memory.shape[-1], memory, name="queries")
    scores = jnp.einsum("...qf,...kf->...qk", queries, memory, preferred_element_type=compute_dtype(queries))
    return _contexts(scores, memory, mask)


def _check(queries: Array, memory: Array) -> None:
    check_floating(queries, name="queries")
    if queries.ndim < 2 or queries.shape[:-2] != memory.shape[:-2] or queries.ndim != memory.ndim:
        raise ValueError(
            "queries must be [..., queries, features] and memory [..., keys, features] with the same leading axes, got "
            f"{list(queries.shape)} and {list(memory.shape)}"
        )


def _contexts(scores: Array, memory: Array, mask: Array | None) -> tuple[Array, Array]:
    if mask is not None:
        scores = jnp.where(_of_each_query(mask, scores), scores, _MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(memory.dtype)
    contexts = jnp.einsum("...qk,...kf->...qf", weights, memory, preferred_element_type=scores.dtype)
    return contexts.astype(memory.dtype), weights


def _of_each_query(mask: Array, scores: Array) -> Array:
    """The mask with an axis for the queries."""
    if not hasattr(mask, "dtype") or mask.dtype != jnp.bool_:
        came = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"mask must be a boolean array, True to attend, got {came}")
    of_keys = (*scores.shape[:-2], scores.shape[-1])
    if mask.shape not in (of_keys, scores.shape):
        raise ValueError(f"mask must be {list(of_keys)} or {list(scores.shape)}, got {list(mask.shape)}")
    return mask[..., None, :] if mask.shape == of_keys else mask
