"""The block of Transformers: attention and a perceptron of two layers, each with a norm and a shortcut around."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax

from jaxnets.layer import layer
from jaxnets.nn.attention import attention, attention_spec
from jaxnets.nn.attention_cache import cached_attention
from jaxnets.nn.dropout import dropout
from jaxnets.nn.gelu import gelu
from jaxnets.nn.linear import linear, linear_spec
from jaxnets.nn.normalization import layer_norm, layer_norm_spec
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State


def transformer_block_spec(
    features: int,
    *,
    heads: int,
    kv_heads: int | None = None,
    hidden: int | None = None,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    out_init: Initializer | None = None,
) -> Spec:
    """Describe the parameters of `transformer_block`.

    Args:
        features: size of the last axis of input and result.
        heads: of attention, a divisor of `features`.
        kv_heads: heads of keys and values; None for `heads`.
        hidden: size of the hidden layer; None for four times `features`.
        bias: whether norms, attention and linear layers have biases.
        kernel_init: initializes the kernels.
        out_init: initializes those two kernels whose results are added to the shortcut; None for `kernel_init`.

    Returns:
        A spec with `norm1`, `attention`, `norm2`, `linear1` and `linear2`.

    Raises:
        ValueError: if heads do not divide `features`, or `kv_heads` do not divide `heads`.

    Example:
        >>> sorted(transformer_block_spec(32, heads=4))
        ['attention', 'linear1', 'linear2', 'norm1', 'norm2']
    """
    hidden = 4 * features if hidden is None else hidden
    out_init = kernel_init if out_init is None else out_init
    attends = attention_spec(features, heads=heads, kv_heads=kv_heads, bias=bias, kernel_init=kernel_init)
    out = attention_spec(features, heads=heads, bias=bias, kernel_init=out_init)["out"]
    return {
        "norm1": layer_norm_spec(features, bias=bias),
        "attention": attends | {"out": out},
        "norm2": layer_norm_spec(features, bias=bias),
        "linear1": linear_spec(features, hidden, bias=bias, kernel_init=kernel_init, axes=("features", "hidden")),
        "linear2": linear_spec(hidden, features, bias=bias, kernel_init=out_init, axes=("hidden", "features")),
    }


@layer
def transformer_block(
    params: Params,
    x: Array,
    *,
    causal: bool = False,
    mask: Array | None = None,
    rotary: Callable[[Array, Array], Array] | None = None,
    activation: Callable[[Array], Array] = gelu,
    norm: Callable[..., Array] = layer_norm,
    norm_first: bool = True,
    epsilon: float = 1e-5,
    dropout_rate: float | Array = 0.0,
    attention_dropout_rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool,
) -> Array:
    """Add attention, then a perceptron: $y = x + attention(norm1(x)); z = y + W_2 f(W_1 norm2(y))$.

    With `norm_first=False`, the norms are behind the sums: $y = norm1(x + attention(x)); z = norm2(y + W_2 f(W_1 y))$.
    With a third kernel, `gate`, the perceptron is gated: $W_2 (f(W_gate y) * W_1 y)$, SwiGLU if f is SiLU.

    Args:
        params: `norm1`, `attention`, `norm2`, `linear1`, `linear2` and, if there is one, `gate`.
        x: `[..., time, features]`, floating point.
        causal: whether position i attends to the positions up to i only.
        mask: as in `attention`, True where a query may attend to a key.
        rotary: as in `attention`.
        activation: f.
        norm: `layer_norm` or `rms_norm`.
        norm_first: whether norms come before attention and perceptron, or behind the sums.
        epsilon: of the norms.
        dropout_rate: the probability to drop an entry of what is added to each shortcut, in training.
        attention_dropout_rate: the probability to drop an attention weight in training.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[..., time, features]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` or the mask does not fit, or a key is missing.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(transformer_block_spec(8, heads=2), jax.random.key(0))
        >>> transformer_block(params, jnp.ones((1, 5, 8)), causal=True, train=False).shape
        (1, 5, 8)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017; with norms first: Radford et al., Language Models are
        Unsupervised Multitask Learners, 2019, and Xiong et al., On Layer Normalization in the Transformer Architecture,
        2020.

    Warning:
        The first paper, and PyTorch's `TransformerEncoderLayer` by default, put norms behind the sums. PyTorch's layer
        also drops hidden entries. GPT-2 computes GELU by tanh, as `jax.nn.gelu` does; for PyTorch's exact one pass
        `functools.partial(nn.gelu, approximate=False)`.
    """

    def attend(x: Array) -> Array:
        y = attention(
            params["attention"],
            x,
            causal=causal,
            mask=mask,
            rotary=rotary,
            rate=attention_dropout_rate,
            key=subkey(key, "attention"),
            train=train,
        )
        return dropout(y, dropout_rate, key=subkey(key, "attended"), train=train)

    def perceptron(x: Array) -> Array:
        y = feed_forward(params, x, activation)
        return dropout(y, dropout_rate, key=subkey(key, "hidden"), train=train)

    add = functools.partial(add_with_norm, norm=norm, norm_first=norm_first, epsilon=epsilon)
    return add(params["norm2"], add(params["norm1"], x, attend), perceptron)


@layer
def cached_transformer_block(
    params: Params,
    cache: State,
    x: Array,
    *,
    lengths: Array | None = None,
    rotary: Callable[[Array, Array], Array] | None = None,
    activation: Callable[[Array], Array] = gelu,
    norm: Callable[..., Array] = layer_norm,
    norm_first: bool = True,
    epsilon: float = 1e-5,
) -> tuple[Array, State]:
    """Compute a causal `transformer_block` of what follows the sequences in a cache, as when it is applied.

    Args:
        params: those of `transformer_block`.
        cache: as in `cached_attention`; `attention_cache_spec(spec["attention"], ...)` describes it.
        x: `[..., new, features]`, floating point: what follows the sequences in the cache.
        lengths: as in `cached_attention`.
        rotary: as in `attention`.
        activation: as in `transformer_block`.
        norm: as in `transformer_block`.
        norm_first: as in `transformer_block`.
        epsilon: of the norms.

    Returns:
        `(y, cache)`: y `[..., new, features]`, and the cache with the new positions.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point, or `lengths` are not integers.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init, nn
        >>> spec = transformer_block_spec(8, heads=2)
        >>> params, _ = init(spec, jax.random.key(0))
        >>> _, cache = init(nn.attention_cache_spec(spec["attention"], batch=1, capacity=5), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (1, 5, 8))
        >>> _, cache = cached_transformer_block(params, cache, x[:, :4])
        >>> y, _ = cached_transformer_block(params, cache, x[:, 4:])
        >>> bool(jnp.allclose(y, transformer_block(params, x, causal=True, train=False)[:, 4:], atol=1e-5))
        True
    """
    new_cache = cache

    def attend(x: Array) -> Array:
        nonlocal new_cache
        y, new_cache = cached_attention(params["attention"], cache, x, lengths=lengths, rotary=rotary)
        return y

    add = functools.partial(add_with_norm, norm=norm, norm_first=norm_first, epsilon=epsilon)
    y = add(params["norm1"], x, attend)
    return add(params["norm2"], y, lambda y: feed_forward(params, y, activation)), new_cache


def add_with_norm(
    params: Params,
    x: Array,
    function: Callable[[Array], Array],
    *,
    norm: Callable[..., Array],
    norm_first: bool,
    epsilon: float,
) -> Array:
    """Return x + f(norm(x)), or norm(x + f(x))."""
    if norm_first:
        return x + function(norm(params, x, epsilon=epsilon))
    return norm(params, x + function(x), epsilon=epsilon)


def feed_forward(params: Params, x: Array, activation: Callable[[Array], Array]) -> Array:
    """Return W_2 f(W_1 x), or W_2 (f(W_gate x) * W_1 x) if there is a gate."""
    hidden = linear(params["linear1"], x)
    hidden = activation(linear(params["gate"], x)) * hidden if "gate" in params else activation(hidden)
    return linear(params["linear2"], hidden)
