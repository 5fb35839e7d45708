"""The block of a Transformer's decoder: attention to the past, attention to the encoder's result, and a perceptron."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxnets.layer import layer
from jaxnets.nn.attention import attention, attention_spec
from jaxnets.nn.attention_cache import cached_attention
from jaxnets.nn.dropout import dropout
from jaxnets.nn.gelu import gelu
from jaxnets.nn.normalization import layer_norm, layer_norm_spec
from jaxnets.nn.transformer_block import add_with_norm, feed_forward, transformer_block_spec
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State


def transformer_decoder_block_spec(
    features: int,
    *,
    heads: int,
    hidden: int | None = None,
    memory_features: int | None = None,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
) -> Spec:
    """Describe the parameters of `transformer_decoder_block`.

    Args:
        features: size of the last axis of input and result.
        heads: of both attentions, a divisor of `features`.
        hidden: size of the hidden layer; None for four times `features`.
        memory_features: size of the last axis of the memory; None for `features`.
        bias: whether norms, attention and linear layers have biases.
        kernel_init: initializes the kernels.

    Returns:
        A spec with `norm1`, `attention`, `norm_memory`, `memory_attention`, `norm2`, `linear1` and `linear2`.

    Raises:
        ValueError: if heads do not divide `features`.

    Example:
        >>> sorted(transformer_decoder_block_spec(32, heads=4))
        ['attention', 'linear1', 'linear2', 'memory_attention', 'norm1', 'norm2', 'norm_memory']
    """
    crossing = attention_spec(
        features, heads=heads, memory_features=memory_features, bias=bias, kernel_init=kernel_init
    )
    return {
        **transformer_block_spec(features, heads=heads, hidden=hidden, bias=bias, kernel_init=kernel_init),
        "norm_memory": layer_norm_spec(features, bias=bias),
        "memory_attention": crossing,
    }


@layer
def transformer_decoder_block(
    params: Params,
    x: Array,
    memory: Array | Mapping[str, Array],
    *,
    mask: Array | None = None,
    memory_mask: Array | None = None,
    activation: Callable[[Array], Array] = gelu,
    norm: Callable[..., Array] = layer_norm,
    norm_first: bool = True,
    epsilon: float = 1e-5,
    dropout_rate: float | Array = 0.0,
    attention_dropout_rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool,
) -> Array:
    """Add causal attention, attention to a memory, and a perceptron, each with a norm, as in `transformer_block`.

    $y = x + attention(norm1(x)); z = y + attention(norm_memory(y), memory); result = z + W_2 f(W_1 norm2(z))$.

    Args:
        params: as `transformer_decoder_block_spec` describes them.
        x: `[..., time, features]`, floating point.
        memory: `[..., keys, memory_features]`, the encoder's result, or what `attention_memory` made of it with
            `params["memory_attention"]`.
        mask: for the causal attention, as in `attention`; with the causal mask, both count.
        memory_mask: for the attention to the memory, as in `attention`, such as `padding_mask(lengths, keys)`.
        activation: f.
        norm: as in `transformer_block`.
        norm_first: as in `transformer_block`.
        epsilon: of the norms.
        dropout_rate: the probability to drop an entry of what is added to each shortcut, in training.
        attention_dropout_rate: the probability to drop an attention weight in training.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[..., time, features]`, in the dtype of `x`.

    Raises:
        ValueError: if `x`, the memory or a mask does not fit, or a key is missing.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(transformer_decoder_block_spec(8, heads=2), jax.random.key(0))
        >>> transformer_decoder_block(params, jnp.ones((1, 5, 8)), jnp.ones((1, 7, 8)), train=False).shape
        (1, 5, 8)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017 (with `norm_first=False`).
    """
    rates: dict[str, Any] = {"rate": attention_dropout_rate, "train": train}

    def attend(x: Array) -> Array:
        y = attention(params["attention"], x, causal=True, mask=mask, key=subkey(key, "attention"), **rates)
        return dropout(y, dropout_rate, key=subkey(key, "attended"), train=train)

    def attend_to_memory(x: Array) -> Array:
        keys = subkey(key, "memory attention")
        y = attention(params["memory_attention"], x, memory, mask=memory_mask, key=keys, **rates)
        return dropout(y, dropout_rate, key=subkey(key, "attended to memory"), train=train)

    def perceptron(x: Array) -> Array:
        y = feed_forward(params, x, activation)
        return dropout(y, dropout_rate, key=subkey(key, "hidden"), train=train)

    add = functools.partial(add_with_norm, norm=norm, norm_first=norm_first, epsilon=epsilon)
    y = add(params["norm1"], x, attend)
    y = add(params["norm_memory"], y, attend_to_memory)
    return add(params["norm2"], y, perceptron)


@layer
def cached_transformer_decoder_block(
    params: Params,
    cache: State,
    x: Array,
    memory: Array | Mapping[str, Array],
    *,
    lengths: Array | None = None,
    memory_mask: Array | None = None,
    activation: Callable[[Array], Array] = gelu,
    norm: Callable[..., Array] = layer_norm,
    norm_first: bool = True,
    epsilon: float = 1e-5,
) -> tuple[Array, State]:
    """Compute a `transformer_decoder_block` of what follows the sequences in a cache, as when it is applied.

    Args:
        params: those of `transformer_decoder_block`.
        cache: as in `cached_attention`; `attention_cache_spec(spec["attention"], ...)` describes it.
        x: `[..., new, features]`, floating point: what follows the sequences in the cache.
        memory: as in `transformer_decoder_block`.
        lengths: as in `cached_attention`.
        memory_mask: as in `transformer_decoder_block`.
        activation: f.
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
        >>> spec = transformer_decoder_block_spec(8, heads=2)
        >>> params, _ = init(spec, jax.random.key(0))
        >>> _, cache = init(nn.attention_cache_spec(spec["attention"], batch=1, capacity=5), jax.random.key(0))
        >>> x, memory = jax.random.normal(jax.random.key(1), (1, 5, 8)), jnp.ones((1, 7, 8))
        >>> _, cache = cached_transformer_decoder_block(params, cache, x[:, :4], memory)
        >>> y, _ = cached_transformer_decoder_block(params, cache, x[:, 4:], memory)
        >>> whole = transformer_decoder_block(params, x, memory, train=False)
        >>> bool(jnp.allclose(y, whole[:, 4:], atol=1e-5))
        True
    """
    new_cache = cache

    def attend(x: Array) -> Array:
        nonlocal new_cache
        y, new_cache = cached_attention(params["attention"], cache, x, lengths=lengths)
        return y

    add = functools.partial(add_with_norm, norm=norm, norm_first=norm_first, epsilon=epsilon)
    y = add(params["norm1"], x, attend)
    y = add(params["norm_memory"], y, lambda y: attention(params["memory_attention"], y, memory, mask=memory_mask))
    return add(params["norm2"], y, lambda y: feed_forward(params, y, activation)), new_cache
