"""The encoder Transformer of BERT, and embeddings of sentences by it."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets import nn
from jaxnets.config import (
    ACTIVATIONS,
    Activation,
    ModelConfig,
    PositiveFloat,
    PositiveInt,
    Rate,
    build_model,
    check_inputs,
)
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.nn.check import add_parameter, compute_dtype
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class BertConfig(ModelConfig):
    """The settings of `bert`; by default BERT base.

    Attributes:
        vocabulary: how many different tokens there are.
        context: how many positions the network knows.
        types: how many kinds of sentences there are; a token of the second sentence of a pair has type 1.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a token within the network.
        hidden: size of the hidden layers.
        epsilon: of the norms.
        activation: of the hidden layers.
        dropout_rate: the probability to drop an entry of the embeddings and of what blocks add; the paper has 0.1.
        attention_dropout_rate: the probability to drop an attention weight; the paper has 0.1.
        remat: whether the backward pass computes the blocks again instead of storing their values.
    """

    vocabulary: PositiveInt = 30_522
    context: PositiveInt = 512
    types: PositiveInt = 2
    layers: PositiveInt = 12
    heads: PositiveInt = 12
    features: PositiveInt = 768
    hidden: PositiveInt = 3072
    epsilon: PositiveFloat = 1e-12
    activation: Activation = "gelu_exact"
    dropout_rate: Rate = 0.0
    attention_dropout_rate: Rate = 0.0
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features % self.heads:
            raise SettingError(
                f"BertConfig: heads must divide features, got {self.heads} heads and {self.features} features"
            )


class BertInputs(NamedTuple):
    """The input of `bert`.

    Attributes:
        ids: `[batch, time]`.
        mask: bool `[batch, time]`, True at the real tokens; None for all.
        types: `[batch, time]`, of which sentence of a pair a token is; None for the first.
    """

    ids: Array
    mask: Array | None = None
    types: Array | None = None


def _spec(config: BertConfig) -> Spec:
    """`tokens`, `positions`, `types`, `norm` and `blocks` (stacked)."""
    normal = jax.nn.initializers.normal(0.02)
    table = functools.partial(nn.embedding_spec, embedding_init=normal)
    block = nn.transformer_block_spec(config.features, heads=config.heads, hidden=config.hidden, kernel_init=normal)
    return {
        "tokens": table(config.vocabulary, config.features),
        "positions": table(config.context, config.features, axes=("positions", "features")),
        "types": table(config.types, config.features, axes=("types", "features")),
        "norm": nn.layer_norm_spec(config.features),
        "blocks": repeat_spec(block, config.layers),
    }


def _apply(
    config: BertConfig, params: Params, state: State, inputs: BertInputs, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    check_inputs(inputs, BertInputs)
    ids, mask, types = inputs
    if ids.ndim != 2:
        raise ValueError(f"bert: ids must be [batch, time], got {list(ids.shape)}")
    if ids.shape[1] > config.context:
        raise ValueError(f"bert: {ids.shape[1]} tokens are more than the context of {config.context}")
    types = jnp.zeros(ids.shape, jnp.int32) if types is None else types
    x = nn.embedding(params["tokens"], ids) + nn.embedding(params["types"], types)
    x = add_parameter(x, params["positions"]["embedding"][: ids.shape[1]])
    x = nn.layer_norm(params["norm"], x, epsilon=config.epsilon)
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "embeddings"), train=train)
    block = functools.partial(
        nn.transformer_block,
        mask=None if mask is None else mask[:, None, None],
        activation=ACTIVATIONS[config.activation],
        norm_first=False,
        epsilon=config.epsilon,
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    return repeat(block, params["blocks"], x, key=subkey(key, "blocks"), remat=config.remat, unroll=4), state


def bert(config: BertConfig = BertConfig()) -> Model:
    """Make the network: embeddings of tokens, positions and kinds of sentence, a norm, and blocks with norms behind.

    Args:
        config: the settings.

    Returns:
        A model from `BertInputs(ids, mask, types)` to features `[batch, time, features]`. Apply raises a ValueError if
        the sequence is longer than the context.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = bert(BertConfig(vocabulary=65, context=8, layers=2, heads=2, features=16, hidden=24))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, BertInputs(jnp.zeros((3, 5), jnp.int32)), train=False)[0].shape
        (3, 5, 16)

    Reference:
        Devlin et al., BERT: pre-training of deep bidirectional Transformers for language understanding, 2019.

    Warning:
        The paper's network has one more layer above the first token, the pooler, for its second task; it is left out.
    """
    return build_model(config, BertConfig, _spec, _apply)


def mean_embedding(features: Array, mask: Array | None = None) -> Array:
    """Embed a sentence as the mean of its tokens' features, of length 1: $e = m / |m|$, m the mean over real tokens.

    Args:
        features: `[..., time, features]`.
        mask: bool `[..., time]`, True at the real tokens; None for all.

    Returns:
        `[..., features]`, in the dtype of the features. Products of two embeddings are their cosine. Zeros for a
        sentence without tokens.

    Example:
        >>> mean_embedding(jnp.array([[[1.0, 4.0], [5.0, 4.0], [9.0, 9.0]]]), jnp.array([[True, True, False]]))
        Array([[0.6, 0.8]], dtype=float32)

    Reference:
        Reimers, Gurevych, Sentence-BERT: sentence embeddings using siamese BERT-networks, 2019.
    """
    wide = features.astype(compute_dtype(features))
    if mask is not None:
        wide = jnp.where(mask[..., None], wide, 0)
    total = jnp.sum(wide, axis=-2)  # the number of tokens cancels
    embedding: Array = total / optax.safe_norm(total, 1e-12, axis=-1, keepdims=True)
    return embedding.astype(features.dtype)
