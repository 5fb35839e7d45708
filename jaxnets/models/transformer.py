"""The encoder-decoder Transformer, for translation and every other task from a sequence to a sequence."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import nn
from jaxnets.config import (
    ACTIVATIONS,
    Activation,
    ModelConfig,
    PositiveInt,
    Rate,
    build_model,
    check_config,
    check_inputs,
)
from jaxnets.decode.step import Step, last_real
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.models.caches import empty_caches
from jaxnets.nn.check import add_parameter
from jaxnets.random import subkey
from jaxnets.repeat import repeat, unstack
from jaxnets.spec import ArraySpec, Spec, repeat_spec
from jaxnets.types import Array, DTypeLike, Key, Params, State


@dataclasses.dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """The settings of `transformer`; by default the base network of the paper.

    Attributes:
        source_vocabulary: how many different source tokens there are.
        target_vocabulary: how many different target tokens there are.
        layers: how many blocks the encoder has, and the decoder.
        heads: of attention, a divisor of `features`.
        features: of a token within the network.
        hidden: size of the hidden layers.
        context: how many positions there are.
        shared: whether source and target have one table of embeddings, and one vocabulary.
        tied: whether the table of target embeddings is the last layer too.
        pad: the token that fills short sequences; nothing attends to it.
        norm_first: whether norms come before attention and perceptron, or behind the sums, as in the paper.
        activation: of the hidden layers.
        dropout_rate: the probability to drop an entry of the embeddings and of what blocks add.
        attention_dropout_rate: the probability to drop an attention weight.
        remat: whether the backward pass computes the blocks again instead of storing their values.
    """

    source_vocabulary: PositiveInt
    target_vocabulary: PositiveInt
    layers: PositiveInt = 6
    heads: PositiveInt = 8
    features: PositiveInt = 512
    hidden: PositiveInt = 2048
    context: PositiveInt = 256
    shared: bool = False
    tied: bool = True
    pad: int = 0
    norm_first: bool = True
    activation: Activation = "relu"
    dropout_rate: Rate = 0.1
    attention_dropout_rate: Rate = 0.0
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features % self.heads:
            raise SettingError(
                f"TransformerConfig: heads must divide features, got {self.heads} heads and {self.features} features"
            )
        if self.features % 2:
            raise SettingError(f"TransformerConfig: features must be even, for sines and cosines, got {self.features}")
        if self.shared and self.source_vocabulary != self.target_vocabulary:
            raise SettingError(
                "TransformerConfig: with shared=True, both vocabularies are one, got "
                f"{self.source_vocabulary} and {self.target_vocabulary}"
            )


class SourceTarget(NamedTuple):
    """The input of `transformer`.

    Attributes:
        source: ids `[batch, source_time]`, padded at the end.
        target: ids `[batch, target_time]` that the decoder reads, beginning with the token that begins a sequence.
    """

    source: Array
    target: Array


def _spec(config: TransformerConfig) -> Spec:
    """`source` (unless shared), `target`, `encoder`, `decoder`, their norms, and `out` (unless tied)."""
    features = config.features
    table = jax.nn.initializers.normal(features**-0.5)
    xavier = jax.nn.initializers.glorot_uniform()
    sizes: dict[str, Any] = {"heads": config.heads, "hidden": config.hidden, "kernel_init": xavier}
    spec = {
        "target": nn.embedding_spec(config.target_vocabulary, features, embedding_init=table),
        "encoder": repeat_spec(nn.transformer_block_spec(features, **sizes), config.layers),
        "encoder_norm": nn.layer_norm_spec(features),
        "decoder": repeat_spec(nn.transformer_decoder_block_spec(features, **sizes), config.layers),
        "decoder_norm": nn.layer_norm_spec(features),
    }
    if not config.shared:
        spec["source"] = nn.embedding_spec(config.source_vocabulary, features, embedding_init=table)
    if config.tied:
        spec["bias"] = ArraySpec((config.target_vocabulary,), jax.nn.initializers.zeros, axes=("vocabulary",))
    else:
        spec["out"] = nn.linear_spec(
            features, config.target_vocabulary, kernel_init=xavier, axes=("features", "vocabulary")
        )
    return spec


def _apply(
    config: TransformerConfig,
    params: Params,
    state: State,
    inputs: SourceTarget,
    *,
    key: Key | None = None,
    train: bool,
) -> tuple[Array, State]:
    check_inputs(inputs, SourceTarget)
    source, target = inputs
    memory = transformer_encode(config, params, source, key=subkey(key, "encoder"), train=train)
    key = subkey(key, "decoder")
    x = _embed(config, params, "target", target, key=key, train=train)
    block = functools.partial(
        nn.transformer_decoder_block,
        memory=memory,
        memory_mask=_real(config, source),
        **_block_settings(config),
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    x = repeat(block, params["decoder"], x, key=subkey(key, "blocks"), remat=config.remat, unroll=4)
    return _logits(config, params, x), state


def transformer(config: TransformerConfig) -> Model:
    """Make the network: an encoder of the source, and a decoder of the target that attends to it.

    $x_t = sqrt(features) E[id_t] + p_t$ with $p_t$ the sines and cosines of $t / 10000^(2i / features)$; both stacks
    end with a norm.

    Args:
        config: the settings.

    Returns:
        A model from `SourceTarget(source, target)`, ids `[batch, source_time]` and `[batch, target_time]`, to logits
        `[batch, target_time, target_vocabulary]` of each next target token. Padding behind the target needs no mask:
        the decoder is causal, and the loss leaves it out. Apply raises a ValueError if a sequence is longer than the
        context.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = transformer(TransformerConfig(11, 13, layers=1, heads=2, features=8, hidden=16))
        >>> params, state = model.init(jax.random.key(0))
        >>> inputs = SourceTarget(jnp.array([[1, 2, 3, 0]]), jnp.array([[1, 5]]))
        >>> model.apply(params, state, inputs, train=False)[0].shape
        (1, 2, 13)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017.

    Warning:
        The paper has norms behind the sums and none at the end of a stack; PyTorch's `Transformer` has those at the
        ends in either form, as here. Features of a position are all sines, then all cosines; the paper has them in
        turns.
    """
    return build_model(config, TransformerConfig, _spec, _apply)


def transformer_encode(
    config: TransformerConfig, params: Params, source: Array, *, key: Key | None = None, train: bool
) -> Array:
    """Run the encoder over the source.

    Args:
        config: of the network, `model.config`.
        params: of a `transformer`.
        source: ids `[batch, time]`, padded at the end.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        The memory `[batch, time, features]`.

    Raises:
        ValueError: if the source is longer than the context.

    Example:
        >>> model = transformer(TransformerConfig(11, 13, layers=1, heads=2, features=8, hidden=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> transformer_encode(model.config, params, jnp.array([[1, 2, 3, 0]]), train=False).shape
        (1, 4, 8)
    """
    x = _embed(config, params, "target" if config.shared else "source", source, key=key, train=train)
    block = functools.partial(
        nn.transformer_block,
        mask=_real(config, source),
        **_block_settings(config),
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    x = repeat(block, params["encoder"], x, key=subkey(key, "blocks"), remat=config.remat, unroll=4)
    return nn.layer_norm(params["encoder_norm"], x)


def transformer_carry(
    config: TransformerConfig, params: Params, source: Array, *, capacity: int, dtype: DTypeLike | None = None
) -> dict[str, Any]:
    """Make the carry of `transformer_step`: encode the source, and make its keys and values, once for all tokens.

    Args:
        config: of the network, `model.config`.
        params: of a `transformer`.
        source: ids `[batch, time]`, padded at the end.
        capacity: how many target tokens there may be.
        dtype: of the cached keys and values; None for that of the parameters.

    Returns:
        `cache`, `memory` and `memory_mask`, all `[batch, ...]`.

    Raises:
        TypeError: if the config is of another class.
        ValueError: if the source is longer than the context.

    Example:
        >>> model = transformer(TransformerConfig(11, 13, layers=2, heads=2, features=8, hidden=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> carry = transformer_carry(model.config, params, jnp.array([[1, 2, 3, 0]]), capacity=5)
        >>> len(carry["cache"]), carry["memory"][0]["key"].shape
        (2, (1, 4, 2, 4))
    """
    check_config(config, TransformerConfig)
    encoded = transformer_encode(config, params, source, train=False)
    dtype = encoded.dtype if dtype is None else dtype
    decoder = params["decoder"]
    return {
        "cache": empty_caches(decoder, batch=source.shape[0], capacity=capacity, dtype=dtype),
        "memory": [nn.attention_memory(block["memory_attention"], encoded) for block in unstack(decoder)],
        "memory_mask": _real(config, source),
    }


def transformer_step(config: TransformerConfig, params: Params) -> Step:
    """Make the step of the decoder for `jaxnets.decode`; its carry is that of `transformer_carry`.

    Args:
        config: of the network, `model.config`.
        params: of a `transformer`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets import decode
        >>> model = transformer(TransformerConfig(11, 13, layers=1, heads=2, features=8, hidden=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> carry = transformer_carry(model.config, params, jnp.array([[3, 4, 0], [5, 6, 7]]), capacity=11)
        >>> begin, step = jnp.ones((2, 1), jnp.int32), transformer_step(model.config, params)
        >>> decode.beam_search(step, carry, begin, 10, beams=4, stop=[2]).ids.shape
        (2, 4, 10)
    """
    check_config(config, TransformerConfig)
    config = dataclasses.replace(config, dropout_rate=0.0)
    blocks = unstack(params["decoder"])
    settings = _block_settings(config)

    def step(carry: dict[str, Any], ids: Array, lengths: Array | None = None, /) -> tuple[Array, dict[str, Any]]:
        starts = carry["cache"][0]["length"]
        x = _embed(config, params, "target", ids, starts=starts, train=False)
        caches = []
        for block_params, cache, memory in zip(blocks, carry["cache"], carry["memory"], strict=True):
            x, cache = nn.cached_transformer_decoder_block(
                block_params, cache, x, memory, lengths=lengths, memory_mask=carry["memory_mask"], **settings
            )
            caches.append(cache)
        return _logits(config, params, last_real(x, lengths)), carry | {"cache": caches}

    return step


def _block_settings(config: TransformerConfig) -> dict[str, Any]:
    return {"activation": ACTIVATIONS[config.activation], "norm_first": config.norm_first}


def _real(config: TransformerConfig, ids: Array) -> Array:
    """Which source tokens may be attended to, bool `[batch, 1, 1, time]`."""
    return (ids != config.pad)[:, None, None]


def _embed(
    config: TransformerConfig,
    params: Params,
    table: str,
    ids: Array,
    *,
    starts: Array | None = None,
    key: Key | None = None,
    train: bool,
) -> Array:
    """Embeddings and positions, which count from `starts` `[batch]`."""
    if ids.ndim != 2:
        raise ValueError(f"transformer: ids of the {table} must be [batch, time], got {list(ids.shape)}")
    time = ids.shape[1]
    if time > config.context:
        raise ValueError(f"transformer: {time} tokens are more than the context of {config.context}")
    x = nn.embedding(params[table], ids)
    positions = jnp.asarray(sinusoids(config.context, config.features), x.dtype)
    if starts is None:
        along = positions[None, :time]
    else:
        places = starts[:, None] + jnp.arange(time, dtype=jnp.int32)[None]
        along = positions[jnp.minimum(places, config.context - 1)]
    x = x * jnp.asarray(math.sqrt(config.features), x.dtype) + along
    return nn.dropout(x, config.dropout_rate, key=subkey(key, "embeddings"), train=train)


def sinusoids(context: int, features: int) -> np.ndarray[Any, Any]:
    """Sines, then cosines of t / 10000^(2i / features) for i < features / 2: `[context, features]`, float32.

    Example:
        >>> sinusoids(2, 4).round(2)
        array([[0.  , 0.  , 1.  , 1.  ],
               [0.84, 0.01, 0.54, 1.  ]], dtype=float32)
    """
    angles = np.arange(context)[:, None] / 10_000 ** (np.arange(0, features, 2) / features)[None]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _logits(config: TransformerConfig, params: Params, x: Array) -> Array:
    x = nn.layer_norm(params["decoder_norm"], x)
    if not config.tied:
        return nn.linear(params["out"], x)
    return add_parameter(nn.tied_logits(params["target"], x), params["bias"])
