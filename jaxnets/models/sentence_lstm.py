"""A recurrent network that classifies sentences, read in both directions."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, Rate, build_model
from jaxnets.model import Model
from jaxnets.models.sentence_cnn import PAD, embed_words
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class SentenceLSTMConfig(ModelConfig):
    """The settings of `sentence_lstm`.

    Attributes:
        vocabulary: how many ids there are, 0 for padding among them.
        classes: how many logits the network returns.
        features: of a word.
        hidden: the size of each of the two LSTMs.
        dropout_rate: the probability to drop an entry of what goes into the LSTMs and into the last layer.
    """

    vocabulary: PositiveInt
    classes: PositiveInt
    features: PositiveInt = 300
    hidden: PositiveInt = 150
    dropout_rate: Rate = 0.5


def _spec(config: SentenceLSTMConfig) -> Spec:
    """Describe `embedding`, `lstm` and `out`."""
    return {
        "embedding": nn.embedding_spec(config.vocabulary, config.features),
        "lstm": nn.bidirectional_spec(nn.lstm_spec(config.features, config.hidden)),
        "out": nn.linear_spec(2 * config.hidden, config.classes),
    }


def _apply(
    config: SentenceLSTMConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Embed, read forward and backward, and classify what both LSTMs know at their ends."""
    rate = config.dropout_rate
    x = nn.dropout(embed_words(params["embedding"], ids), rate, key=subkey(key, "words"), train=train)
    _, carry = nn.bidirectional(nn.lstm, params["lstm"], x, mask=ids != PAD)
    ends = jnp.concatenate([carry["forward"].hidden, carry["backward"].hidden], axis=-1)
    x = nn.dropout(ends.astype(x.dtype), rate, key=subkey(key, "ends"), train=train)
    return nn.linear(params["out"], x), state


def sentence_lstm(config: SentenceLSTMConfig) -> Model:
    """Make the network: embedding, an LSTM in each direction, and a linear layer of their last hidden states.

    How far a sentence is padded does not change the result.

    Args:
        config: the settings.

    Returns:
        A model from ids `[batch, time]`, 0 for padding after the words, to logits `[batch, classes]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax
        >>> model = sentence_lstm(SentenceLSTMConfig(vocabulary=50, classes=2, features=8, hidden=4))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.array([[4, 7, 3], [5, 0, 0]]), train=False)[0].shape
        (2, 2)

    Reference:
        Tai, Socher, Manning, Improved semantic representations from tree-structured long short-term memory networks,
        2015 (bidirectional LSTM).
    """
    return build_model(config, SentenceLSTMConfig, _spec, _apply)
