"""A recurrent network that predicts the next character."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import LayerCount, ModelConfig, PositiveInt, Rate, build_model, check_config, one_of
from jaxnets.layer import names_errors
from jaxnets.model import Model
from jaxnets.models.sampling import check_generation, draw
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, ArrayLike, Key, Params, State


class _Cell(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
        spec: makes the spec of a layer.
        sequence: runs it over a sequence.
    """

    spec: Callable[..., Spec]
    sequence: Callable[..., tuple[Array, Any]]


_CELLS = {
    "rnn": _Cell(nn.simple_rnn_spec, nn.simple_rnn),
    "lstm": _Cell(nn.lstm_spec, nn.lstm),
    "gru": _Cell(nn.gru_spec, nn.gru),
}


@dataclasses.dataclass(frozen=True)
class CharRNNConfig(ModelConfig):
    """The settings of `char_rnn`.

    Attributes:
        vocabulary: how many different characters there are.
        cell: the kind of recurrent layers, `"rnn"`, `"lstm"` or `"gru"`.
        hidden: the size of the embedding and of each layer.
        layers: how many recurrent layers.
        dropout_rate: the probability to drop an entry of what goes into and comes out of each layer.
    """

    vocabulary: PositiveInt
    cell: Annotated[str, one_of(_CELLS)] = "lstm"
    hidden: PositiveInt = 256
    layers: LayerCount = 1
    dropout_rate: Rate = 0.0


def _spec(config: CharRNNConfig) -> Spec:
    """`embedding`, `layers` and `out`."""
    cell, hidden = _CELLS[config.cell], config.hidden
    return {
        "embedding": nn.embedding_spec(config.vocabulary, hidden),
        "layers": nn.stacked_spec(cell.spec, hidden, hidden, count=config.layers),
        "out": nn.linear_spec(hidden, config.vocabulary),
    }


def _apply(
    config: CharRNNConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    logits, _ = char_rnn_sequence(config, params, ids, key=key, train=train)
    return logits, state


def char_rnn(config: CharRNNConfig) -> Model:
    """Make the network: embedding, recurrent layers from a carry of zeros, and a linear layer.

    Args:
        config: the settings.

    Returns:
        A model from ids `[batch, time]` to logits `[batch, time, vocabulary]` of each next character.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=65, cell="gru", hidden=8))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((2, 3), jnp.int32), train=False)[0].shape
        (2, 3, 65)

    Reference:
        Graves, Generating sequences with recurrent neural networks, 2013.
    """
    return build_model(config, CharRNNConfig, _spec, _apply)


def char_rnn_sequence(
    config: CharRNNConfig,
    params: Params,
    ids: Array,
    *,
    carry: Any = None,
    key: Key | None = None,
    train: bool,
) -> tuple[Array, Any]:
    """Embed characters, run recurrent layers over them, and map the results to logits of the next characters.

    Args:
        config: of the network, `model.config`.
        params: of a `char_rnn`.
        ids: integers `[batch, time]`.
        carry: what an earlier call returned, to go on from; None for zeros.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        Logits `[batch, time, vocabulary]`, and the carry after the last character.

    Raises:
        ValueError: if the parameters are those of another cell.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=5, hidden=4))
        >>> params, _ = model.init(jax.random.key(0))
        >>> ids = jnp.array([[0, 1, 2, 3]])
        >>> whole, _ = char_rnn_sequence(model.config, params, ids, train=False)
        >>> _, carry = char_rnn_sequence(model.config, params, ids[:, :3], train=False)
        >>> last, _ = char_rnn_sequence(model.config, params, ids[:, 3:], carry=carry, train=False)
        >>> bool(jnp.allclose(last[:, 0], whole[:, 3], atol=1e-6))
        True
    """
    rate = config.dropout_rate
    x = nn.embedding(params["embedding"], ids)
    x = nn.dropout(x, rate, key=subkey(key, "in"), train=train)
    sequence = _CELLS[config.cell].sequence
    x, carry = nn.stacked(
        sequence, params["layers"], x, carry=carry, rate=rate, key=subkey(key, "between"), train=train
    )
    x = nn.dropout(x, rate, key=subkey(key, "out"), train=train)
    return nn.linear(params["out"], x), carry


@names_errors
def generate_characters(
    config: CharRNNConfig, params: Params, prompt: ArrayLike, length: int, *, temperature: float | Array = 1.0, key: Key
) -> Array:
    """Draw characters one after the other, each from the distribution softmax(logits / temperature).

    Compiled once for each config, length and shape of the prompt, inside of `jit` and outside of it.

    Args:
        config: of the network, `model.config`.
        params: of a trained `char_rnn`.
        prompt: ids `[batch, time]` to begin with, at least one.
        length: how many characters to draw.
        temperature: below 1 for the likelier characters, above 1 for more variety, 0 for always the likeliest.
        key: random key.

    Returns:
        ids int32 `[batch, length]`.

    Raises:
        TypeError: if the config is of another class, or the prompt does not hold integers.
        ValueError: if the prompt is empty or the temperature negative.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=5, hidden=4))
        >>> params, _ = model.init(jax.random.key(0))
        >>> generate_characters(model.config, params, jnp.array([[1, 2]]), 6, key=jax.random.key(1)).shape
        (1, 6)
    """
    check_config(config, CharRNNConfig)
    ids, length, temperature = check_generation(prompt, length, temperature)
    config = dataclasses.replace(config, dropout_rate=0.0)  # for training only
    drawn: Array = _generate(config, params, ids, length, temperature, key)
    return drawn


@functools.partial(jax.jit, static_argnames=("config", "length"))
def _generate(config: CharRNNConfig, params: Params, prompt: Array, length: int, temperature: Any, key: Key) -> Array:
    def step(carried: tuple[Array, Any], position: Array) -> tuple[tuple[Array, Any], Array]:
        ids, carry = carried
        logits, carry = char_rnn_sequence(config, params, ids[:, None], carry=carry, train=False)
        ids = draw(logits[:, -1], temperature, subkey(key, position))
        return (ids, carry), ids

    logits, carry = char_rnn_sequence(config, params, prompt, train=False)
    first = draw(logits[:, -1], temperature, subkey(key, 0))
    _, rest = jax.lax.scan(step, (first, carry), jnp.arange(1, length))
    return jnp.concatenate([first[None], rest])[:length].T
