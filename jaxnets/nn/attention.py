"""Multi-head attention, of a sequence to itself or to another one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxnets.kernels.attention import Split
from jaxnets.layer import NO_MARKS, layer, names_errors
from jaxnets.nn.check import add_parameter, check_features, check_floating, flatten_leading, match_dtype
from jaxnets.nn.dot_product_attention import dot_product_attention
from jaxnets.nn.initializers import torch_uniform
from jaxnets.nn.normalization import rms_norm, rms_norm_spec
from jaxnets.spec import ArraySpec, Spec, TorchLayout
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params


@names_errors
def attention_spec(
    features: int,
    *,
    heads: int,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    memory_features: int | None = None,
    bias: bool = True,
    head_norm: bool = False,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `attention` and `cached_attention`.

    The head counts are axes of the kernels, so that `attention` need not be told them.

    Args:
        features: size of the last axis of input and result.
        heads: number of query heads.
        kv_heads: number of heads of keys and values, a divisor of `heads`; None for `heads`, 1 for multi-query.
        head_dim: size of a head; None for `features / heads`.
        memory_features: size of the last axis of what keys and values are made of; None for `features`.
        bias: whether the four products have a bias.
        head_norm: whether each head of queries and keys goes through an RMS norm, before rotary positions, as in Qwen3.
        kernel_init: initializes each kernel, seen as a matrix `[in, out]`; by default normal, of variance 1/in.
        bias_init: initializes the biases; by default zeros.

    Returns:
        A spec with `query`, `key`, `value` and `out`, each with `kernel` and, if `bias`, `bias`; with `head_norm`,
        `query` and `key` have a `norm`.

    Raises:
        ValueError: if heads do not divide `features`, or `kv_heads` do not divide `heads`.

    Example:
        >>> spec = attention_spec(32, heads=4, kv_heads=2)
        >>> {name: part["kernel"].shape for name, part in spec.items()}
        {'query': (32, 4, 8), 'key': (32, 2, 8), 'value': (32, 2, 8), 'out': (4, 8, 32)}
    """
    kv_heads = heads if kv_heads is None else kv_heads
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"heads must be a multiple of kv_heads, got {heads} and {kv_heads}")
    if head_dim is None:
        if features % heads:
            raise ValueError(f"features {features} must be a multiple of heads {heads}; or pass head_dim")
        head_dim = features // heads
    memory = features if memory_features is None else memory_features
    # PyTorch draws all three kernels as one matrix, unless keys and values are made of another size.
    query_outputs, kv_outputs = heads * head_dim, kv_heads * head_dim
    one_matrix = query_outputs + 2 * kv_outputs
    query_bound = features + (one_matrix if memory_features is None else query_outputs)
    kv_bound = memory + (one_matrix if memory_features is None else kv_outputs)

    product = functools.partial(_product_spec, kernel_init, bias_init if bias else None)
    kv_shape, kv_axes = (memory, kv_heads, head_dim), ("features", "kv_heads", "head_dim")
    query_axes, out_axes = ("features", "heads", "head_dim"), ("heads", "head_dim", "features")
    norm: Spec = {"norm": rms_norm_spec(head_dim)} if head_norm else {}
    return {
        "query": product((features, heads, head_dim), query_axes, 1, _uniform(math.sqrt(6 / query_bound))) | norm,
        "key": product(kv_shape, kv_axes, 1, _uniform(math.sqrt(6 / kv_bound))) | norm,
        "value": product(kv_shape, kv_axes, 1, _uniform(math.sqrt(6 / kv_bound))),
        "out": product((heads, head_dim, features), out_axes, 2, torch_uniform(query_outputs)),
    }


def _product_spec(
    kernel_init: Initializer,
    bias_init: Initializer | None,
    shape: tuple[int, ...],
    axes: tuple[str, ...],
    inputs: int,
    torch_init: Initializer,
) -> Spec:
    """Describe a product with heads, whose kernel has so many axes of inputs, and no bias without an initializer."""
    layout: TorchLayout = "to_heads" if inputs == 1 else "from_heads"
    draw, torch_draw = _as_matrix(kernel_init, inputs), _as_matrix(torch_init, inputs)
    spec: Spec = {"kernel": ArraySpec(shape, draw, axes=axes, torch_initializer=torch_draw, torch_layout=layout)}
    if bias_init is not None:
        spec["bias"] = ArraySpec(
            shape[inputs:],
            bias_init,
            axes=axes[inputs:],
            torch_initializer=jax.nn.initializers.zeros,
            torch_layout=layout if inputs == 1 else None,
        )
    return spec


@layer
def attention(
    params: Params,
    x: Array,
    memory: Array | Mapping[str, Array] | None = None,
    *,
    causal: bool = False,
    mask: Array | None = None,
    rotary: Callable[[Array, Array], Array] | None = None,
    positions: Array | None = None,
    scale: float | None = None,
    rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool | None = None,
) -> Array:
    """Multi-head attention: $y = concat_h(softmax(scale Q_h K_h^T) V_h) W_out$, with $Q = x W_query$ and so on.

    With fewer heads of keys and values than of queries (in the shapes of the kernels) it is grouped-query attention.

    Args:
        params: `query` with `kernel` `[features, heads, head_dim]` and maybe `bias` `[heads, head_dim]`,
            `key` and `value` with `[memory_features, kv_heads, head_dim]`, and `out` with
            `[heads, head_dim, features]` and `[features]`; `query` and `key` maybe with the `norm` of a head, which has
            epsilon 1e-6.
        x: `[..., queries, features]`, floating point. Its dtype is the result's; parameters are cast to it.
        memory: `[..., keys, memory_features]`, what is attended to, of the dtype and leading axes of `x` (cross
            attention), or the keys and values that `attention_memory` made of it; None for `x` itself.
        causal: whether position i may attend to the positions up to i only.
        mask: boolean, True where a query may attend to a key: `[queries, keys]` or `[..., heads, queries, keys]`, any
            axis of size 1 is repeated (`causal_mask`, `padding_mask`). A query that may attend to nothing attends to
            nothing: its result is the bias of `out`.
        rotary: a function `(queries or keys, positions) -> the same, turned`, such as `nn.rotary`, or
            `functools.partial(nn.rotary, base=500000.0)`; None for no rotary positions.
        positions: `[queries]` or `[..., queries]`, for `rotary`; None for 0, 1, 2, ...
        scale: what the products of queries and keys are multiplied by; None for $1/sqrt(head_dim)$.
        rate: the probability to drop an attention weight in training.
        key: random key, needed if weights are dropped.
        train: whether to drop; required if `rate` is not 0.

    Returns:
        `[..., queries, features]`.

    Raises:
        ValueError: if shapes do not fit, or if `rate` comes without `train` or without a needed `key`.
        TypeError: if `x` is not floating point, `memory` has another dtype, or the mask is not boolean.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.attention_spec(8, heads=2), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (4, 5, 8))
        >>> y = nn.attention(params, x, causal=True, rotary=nn.rotary)
        >>> beginning = nn.attention(params, x[:, :2], causal=True, rotary=nn.rotary)
        >>> y.shape, bool(jnp.allclose(y[:, :2], beginning, atol=1e-6))
        ((4, 5, 8), True)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017; Ainslie et al., GQA, 2023.

    Warning:
        See `dot_product_attention`: masks mean the opposite of those of PyTorch's `MultiheadAttention`.
    """
    check_sequence(x, params["query"]["kernel"])
    if memory is not None:
        if not isinstance(memory, Mapping):
            check_sequence(memory, params["key"]["kernel"], name="memory")
        if rotary is not None:
            raise ValueError("rotary positions relate positions of one sequence; leave out rotary or memory")
    if rotary is None and positions is not None:
        raise ValueError("positions are for rotary; pass rotary=nn.rotary too, or leave them out")
    queries = project(params["query"], x)
    source = x if memory is None else memory
    if isinstance(source, Mapping):
        keys, values = source["key"], source["value"]
    else:
        keys, values = project(params["key"], source), project(params["value"], source)
    if rotary is not None:
        positions = jnp.arange(x.shape[-2]) if positions is None else positions
        queries, keys = rotary(queries, positions), rotary(keys, positions)
    y = dot_product_attention(
        queries,
        keys,
        values,
        mask=mask,
        causal=causal,
        scale=scale,
        rate=rate,
        key=key,
        train=train,
        split=_split(params["query"]),
    )
    return merge_heads(params["out"], y)


@layer
def attention_memory(params: Params, memory: Array) -> dict[str, Array]:
    """Make the keys and values of what is attended to, once for all queries that will come: $M W_key$ and $M W_value$.

    Args:
        params: those of `attention`; `key` and `value` are read.
        memory: `[..., keys, memory_features]`, floating point.

    Returns:
        `key` and `value` `[..., keys, kv_heads, head_dim]`, for `attention(params, x, memory=...)`.

    Raises:
        ValueError: if the last axis of `memory` does not fit the kernels.
        TypeError: if it is not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.attention_spec(8, heads=2), jax.random.key(0))
        >>> memory, x = jnp.ones((4, 7, 8)), jnp.ones((4, 1, 8))
        >>> once = nn.attention_memory(params, memory)
        >>> bool(jnp.allclose(nn.attention(params, x, once), nn.attention(params, x, memory)))
        True
    """
    check_sequence(memory, params["key"]["kernel"], name="memory")
    return {name: project(params[name], memory) for name in ("key", "value")}


def check_sequence(x: Array, kernel: Array, *, name: str = "x") -> None:
    """Raise unless `x` is a floating-point `[..., time, features]` that fits the kernel."""
    check_floating(x, name=name)
    check_features(x, kernel.shape[0], kernel, name=name)
    if x.ndim < 2:
        raise ValueError(f"{name} must be [..., time, features], got {list(x.shape)}")


def project(params: Params, x: Array) -> Array:
    """Make heads of features: `[..., in]` to `[..., heads, head_dim]`."""
    (kernel,) = match_dtype(x, params["kernel"])
    rows, leading = flatten_leading(x)
    features = kernel.shape[1] * kernel.shape[2]  # -1 would be ambiguous for empty arrays
    y: Array = (rows @ kernel.reshape((kernel.shape[0], features))).reshape((*leading, features))
    if "bias" in params:
        y = add_parameter(y, params["bias"].reshape(-1))
    y = y.reshape((*leading, *kernel.shape[1:]))
    return rms_norm(params["norm"], y, epsilon=1e-6) if "norm" in params else y


def merge_heads(params: Params, x: Array) -> Array:
    """Make features of heads: `[..., heads, head_dim]` to `[..., out]`."""
    (kernel,) = match_dtype(x, params["kernel"])
    leading = x.shape[:-2]
    inputs = kernel.shape[0] * kernel.shape[1]  # -1 would be ambiguous for empty arrays
    y: Array = x.reshape((math.prod(leading), inputs)) @ kernel.reshape((inputs, kernel.shape[2]))
    y = y.reshape((*leading, kernel.shape[2]))
    return add_parameter(y, params["bias"]) if "bias" in params else y


def _split(query: Params) -> Split | None:
    """How the queries are divided over devices, if their parameters say where they lie."""
    placed = getattr(query, "marks", NO_MARKS).placed
    return None if placed is None else placed.split()


def _as_matrix(initializer: Initializer, inputs: int) -> Initializer:
    """Initialize an array whose first `inputs` axes are a matrix's rows as that matrix."""

    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        matrix = initializer(key, (math.prod(shape[:inputs]), math.prod(shape[inputs:])), dtype)
        return matrix.reshape(shape)

    return initialize


def _uniform(bound: float) -> Initializer:
    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize
