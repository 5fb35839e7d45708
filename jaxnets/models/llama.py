"""The decoder Transformer of Llama, Qwen2 and Qwen3: rotary positions, RMS norm, gated perceptrons, grouped queries."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveFloat, PositiveInt, build_model, check_config
from jaxnets.decode.step import Step, last_real
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.models.caches import empty_caches
from jaxnets.repeat import repeat, unstack
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, DTypeLike, Key, Params, State

_DEVIATION = 0.02


@dataclasses.dataclass(frozen=True)
class LlamaConfig(ModelConfig):
    """The settings of `llama`; by default Llama 2 with 7 billion parameters.

    Attributes:
        vocabulary: how many different tokens there are.
        layers: how many blocks.
        heads: of the queries.
        kv_heads: of keys and values, a divisor of `heads`.
        head_dim: size of a head; 0 for `features / heads`.
        features: of a token within the network.
        hidden: size of the hidden layers.
        base: of the rotary positions.
        rotary_factor: by how much their long waves are slowed down, as in Llama 3.1; see `nn.llama3_frequencies`.
        rotary_low: see there.
        rotary_high: see there.
        rotary_context: positions that the network was trained on before; see there.
        epsilon: of the norms.
        qkv_bias: whether queries, keys and values have biases, as in Qwen2.
        head_norm: whether each head of queries and keys goes through an RMS norm, as in Qwen3.
        tied: whether the table of embeddings is the last layer too.
        remat: whether the backward pass computes the blocks again instead of storing their values.
    """

    vocabulary: PositiveInt = 32_000
    layers: PositiveInt = 32
    heads: PositiveInt = 32
    kv_heads: PositiveInt = 32
    head_dim: int = 0
    features: PositiveInt = 4096
    hidden: PositiveInt = 11_008
    base: PositiveFloat = 10_000.0
    rotary_factor: PositiveFloat = 1.0
    rotary_low: PositiveFloat = 1.0
    rotary_high: PositiveFloat = 4.0
    rotary_context: PositiveInt = 8192
    epsilon: PositiveFloat = 1e-5
    qkv_bias: bool = False
    head_norm: bool = False
    tied: bool = False
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads % self.kv_heads:
            raise SettingError(
                f"LlamaConfig: kv_heads must divide heads, got {self.kv_heads} kv_heads and {self.heads} heads"
            )
        if self.head_dim == 0 and self.features % self.heads:
            raise SettingError(
                f"LlamaConfig: heads must divide features, got {self.heads} heads and {self.features} features; "
                "or pass head_dim"
            )
        if self.head_dim < 0 or self.head_size % 2:
            raise SettingError(f"LlamaConfig: a head must have an even number of features, got {self.head_size}")

    @property
    def head_size(self) -> int:
        """The size of a head."""
        return self.head_dim or self.features // self.heads


def _spec(config: LlamaConfig) -> Spec:
    """`tokens`, `blocks` (stacked), `norm` and `out` (unless tied)."""
    normal = jax.nn.initializers.normal(_DEVIATION)
    sizes: dict[str, Any] = {
        "heads": config.heads,
        "kv_heads": config.kv_heads,
        "head_dim": config.head_size,
        "kernel_init": normal,
    }
    attention = nn.attention_spec(config.features, bias=config.qkv_bias, head_norm=config.head_norm, **sizes)
    attention["out"] = {"kernel": attention["out"]["kernel"]}
    linear = functools.partial(nn.linear_spec, bias=False, kernel_init=normal)
    block = {
        "norm1": nn.rms_norm_spec(config.features),
        "attention": attention,
        "norm2": nn.rms_norm_spec(config.features),
        "gate": linear(config.features, config.hidden, axes=("features", "hidden")),
        "linear1": linear(config.features, config.hidden, axes=("features", "hidden")),
        "linear2": linear(config.hidden, config.features, axes=("hidden", "features")),
    }
    spec = {
        "tokens": nn.embedding_spec(config.vocabulary, config.features, embedding_init=normal),
        "blocks": repeat_spec(block, config.layers),
        "norm": nn.rms_norm_spec(config.features),
    }
    return (
        spec
        if config.tied
        else spec | {"out": linear(config.features, config.vocabulary, axes=("features", "vocabulary"))}
    )


def _settings(config: LlamaConfig) -> dict[str, Any]:
    """Of the blocks."""
    frequencies = nn.llama3_frequencies(
        config.head_size,
        base=config.base,
        factor=config.rotary_factor,
        low=config.rotary_low,
        high=config.rotary_high,
        context=config.rotary_context,
    )
    rotary = functools.partial(nn.rotary, frequencies=frequencies)
    return {"rotary": rotary, "activation": jax.nn.silu, "norm": nn.rms_norm, "epsilon": config.epsilon}


def _apply(
    config: LlamaConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    if ids.ndim != 2:
        raise ValueError(f"llama: ids must be [batch, time], got {list(ids.shape)}")
    block = functools.partial(nn.transformer_block, causal=True, train=train, **_settings(config))
    x = repeat(block, params["blocks"], nn.embedding(params["tokens"], ids), remat=config.remat, unroll=4)
    return _logits(config, params, x), state


def llama(config: LlamaConfig = LlamaConfig()) -> Model:
    """Make the network: embeddings of tokens, causal blocks with rotary positions, a norm, and logits.

    Args:
        config: the settings.

    Returns:
        A model from ids `[batch, time]` to logits `[batch, time, vocabulary]` of each next token. It drops nothing and
        needs no key.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> config = LlamaConfig(vocabulary=65, layers=2, heads=4, kv_heads=2, features=16, hidden=24)
        >>> model = llama(config)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((3, 5), jnp.int32), train=False)[0].shape
        (3, 5, 65)

    Reference:
        Touvron et al., Llama 2: open foundation and fine-tuned chat models, 2023; Yang et al., Qwen2 technical report,
        2024 (with `qkv_bias`); Shazeer, GLU variants improve Transformer, 2020.

    Warning:
        The halves of a head are rotated, as in Hugging Face's code and weights; Meta's own weights have the features in
        another order. For the longer contexts of Llama 3.1 set `rotary_factor`.
    """
    return build_model(config, LlamaConfig, _spec, _apply)


def llama_carry(
    config: LlamaConfig, params: Params, *, batch: int, capacity: int, dtype: DTypeLike | None = None
) -> list[Any]:
    """Make the carry of `llama_step`: an empty cache of keys and values for each block.

    Args:
        config: of the network, `model.config`.
        params: of a `llama`.
        batch: the number of sequences.
        capacity: how many tokens the cache can hold for each sequence.
        dtype: of the cached keys and values; None for that of the parameters.

    Raises:
        TypeError: if the config is of another class.
        ValueError: if the capacity is not positive.

    Example:
        >>> config = LlamaConfig(vocabulary=65, layers=2, heads=4, kv_heads=2, features=16, hidden=24)
        >>> params, _ = llama(config).init(jax.random.key(0))
        >>> [cache["key"].shape for cache in llama_carry(config, params, batch=3, capacity=8)]
        [(3, 2, 8, 4), (3, 2, 8, 4)]
    """
    check_config(config, LlamaConfig)
    dtype = params["tokens"]["embedding"].dtype if dtype is None else dtype
    return empty_caches(params["blocks"], batch=batch, capacity=capacity, dtype=dtype)


def llama_step(config: LlamaConfig, params: Params) -> Step:
    """Make the step of the network for `jaxnets.decode`: it reads tokens with the keys and values of those before.

    Args:
        config: of the network, `model.config`.
        params: of a `llama`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`, with the carry of `llama_carry`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import decode
        >>> config = LlamaConfig(vocabulary=65, layers=2, heads=4, kv_heads=2, features=16, hidden=24)
        >>> params, _ = llama(config).init(jax.random.key(0))
        >>> carry, key = llama_carry(config, params, batch=1, capacity=20), jax.random.key(1)
        >>> decode.generate(llama_step(config, params), carry, jnp.array([[1, 2, 3]]), 10, key=key).ids.shape
        (1, 10)

    Warning:
        A sequence that outgrows its cache gives NaN.
    """
    check_config(config, LlamaConfig)
    blocks = unstack(params["blocks"])
    settings = _settings(config)

    def step(carry: list[Any], ids: Array, lengths: Array | None = None, /) -> tuple[Array, list[Any]]:
        x, caches = nn.embedding(params["tokens"], ids), []
        for block, cache in zip(blocks, carry, strict=True):
            x, cache = nn.cached_transformer_block(block, cache, x, lengths=lengths, **settings)
            caches.append(cache)
        return _logits(config, params, last_real(x, lengths)), caches

    return step


def _logits(config: LlamaConfig, params: Params, x: Array) -> Array:
    x = nn.rms_norm(params["norm"], x, epsilon=config.epsilon)
    return nn.tied_logits(params["tokens"], x) if config.tied else nn.linear(params["out"], x)
