"""The convolutional network that classifies sentences."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import LayerSizes, ModelConfig, PositiveInt, Rate, build_model
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State

PAD = 0
"""The id of padding, as in the tokenizers of `jaxnets.data`."""


def _uniform(limit: float) -> Initializer:
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -limit, limit)


@dataclasses.dataclass(frozen=True)
class SentenceCNNConfig(ModelConfig):
    """The settings of `sentence_cnn`; by default the paper's.

    Attributes:
        vocabulary: how many ids there are, 0 for padding among them.
        classes: how many logits the network returns.
        features: of a word.
        widths: of the convolutions, in words.
        channels: of each convolution.
        dropout_rate: the probability to drop an entry of what goes into the last layer.
    """

    vocabulary: PositiveInt
    classes: PositiveInt
    features: PositiveInt = 300
    widths: LayerSizes = (3, 4, 5)
    channels: PositiveInt = 100
    dropout_rate: Rate = 0.5


def _spec(config: SentenceCNNConfig) -> Spec:
    """Describe `embedding`, `convs` and `out`."""
    return {
        "embedding": nn.embedding_spec(config.vocabulary, config.features, embedding_init=_uniform(0.25)),
        "convs": [
            nn.conv_spec(config.features, config.channels, (width,), kernel_init=_uniform(0.01))
            for width in config.widths
        ],
        "out": nn.linear_spec(
            len(config.widths) * config.channels, config.classes, kernel_init=jax.nn.initializers.normal(0.01)
        ),
    }


def _apply(
    config: SentenceCNNConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Embed, convolve, take the largest value of each channel, and classify."""
    x = embed_words(params["embedding"], ids)
    lengths = jnp.sum(ids != PAD, axis=-1, dtype=jnp.int32)
    largest = [_largest(conv, x, lengths) for conv in params["convs"]]
    x = nn.dropout(jnp.concatenate(largest, axis=-1), config.dropout_rate, key=key, train=train)
    return nn.linear(params["out"], x), state


def embed_words(params: Params, ids: Array) -> Array:
    """Look up words `[..., time]`; padding becomes zeros.

    Example:
        >>> embed_words({"embedding": jnp.array([[9.0], [2.0]])}, jnp.array([1, 1, 0])).ravel()
        Array([2., 2., 0.], dtype=float32)
    """
    x = nn.embedding(params, ids)
    return jnp.where((ids != PAD)[..., None], x, jnp.zeros_like(x))


def _largest(params: Params, x: Array, lengths: Array) -> Array:
    """The largest value of each channel, relu(conv), over all windows that touch a word: `[..., channels]`."""
    width = params["kernel"].shape[0]
    values = jax.nn.relu(nn.conv(params, x, padding=width - 1))
    touches = nn.sequence_mask(lengths + (width - 1), values.shape[-2])
    return jnp.max(jnp.where(touches[..., None], values, jnp.zeros_like(values)), axis=-2)


def sentence_cnn(config: SentenceCNNConfig) -> Model:
    """Make the network: embedding, convolutions over 3, 4 and 5 words with 100 channels each, largest values, linear.

    Sentences begin and end in zeros, so that a convolution also sees windows of which only the first word or the last
    one belongs to the sentence. How far a sentence is padded does not change the result.

    Args:
        config: the settings.

    Returns:
        A model from ids `[batch, time]`, 0 for padding after the words, to logits `[batch, classes]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = sentence_cnn(SentenceCNNConfig(vocabulary=50, classes=2, features=8, channels=4))
        >>> params, state = model.init(jax.random.key(0))
        >>> short, _ = model.apply(params, state, jnp.array([[4, 7]]), train=False)
        >>> padded, _ = model.apply(params, state, jnp.array([[4, 7, 0, 0, 0]]), train=False)
        >>> short.shape, bool(jnp.allclose(short, padded))
        ((1, 2), True)

    Reference:
        Kim, Convolutional neural networks for sentence classification, 2014 (CNN-rand).

    Warning:
        The paper also keeps the norms of the last layer's weights at 3 or less, which is the optimizer's part here:
        `jaxnets.regularizers.max_norm`; it divides by 2 in evaluation what dropout here doubles in training, so its 3
        is 1.5 here. Its program takes the largest value over all windows, padding included.
    """
    return build_model(config, SentenceCNNConfig, _spec, _apply)
