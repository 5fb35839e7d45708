"""A recurrent network that predicts the next character."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


class Cell(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
        spec: makes the spec of a layer.
        sequence: runs it over a sequence.
    """

    spec: Callable[..., Spec]
    sequence: Callable[..., tuple[Array, Any]]


CELLS = {
    "rnn": Cell(nn.simple_rnn_spec, nn.simple_rnn),
    "lstm": Cell(nn.lstm_spec, nn.lstm),
    "gru": Cell(nn.gru_spec, nn.gru),
}


def cell_of(name: str) -> Cell:
    """Return the kind of recurrent layer of a name.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in CELLS:
        raise ValueError(f"char_rnn: cell must be one of {', '.join(CELLS)}; got {name!r}")
    return CELLS[name]


def char_rnn_spec(characters: int, *, cell: str = "lstm", hidden: int = 256, layers: int = 1) -> Spec:
    """Describe the parameters of `char_rnn`.

    Example:
        >>> char_rnn_spec(65)["layers"][0]["hidden_kernel"].shape
        (256, 1024)
    """
    return {
        "embedding": nn.embedding_spec(characters, hidden),
        "layers": nn.stacked_spec(cell_of(cell).spec, hidden, hidden, count=layers),
        "out": nn.linear_spec(hidden, characters),
    }


def char_rnn_sequence(
    params: Params,
    ids: Array,
    *,
    cell: str = "lstm",
    carry: Any = None,
    rate: float = 0.0,
    key: Key | None = None,
    train: bool,
) -> tuple[Array, Any]:
    """Embed characters, run recurrent layers over them, and map the results to logits of the next characters.

    Args:
        params: as `char_rnn_spec` describes them.
        ids: integers `[batch, time]`.
        cell: `"rnn"`, `"lstm"` or `"gru"`, as in the spec.
        carry: what an earlier call returned, to go on from; None for zeros.
        rate: the probability to drop an entry of what goes into and comes out of each layer, in training.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        Logits `[batch, time, characters]`, and the carry after the last character.

    Raises:
        ValueError: if there is no such cell, or the parameters are those of another.

    Example:
        >>> from jaxnets import init
        >>> params, _ = init(char_rnn_spec(5, hidden=4), jax.random.key(0))
        >>> ids = jnp.array([[0, 1, 2, 3]])
        >>> whole, _ = char_rnn_sequence(params, ids, train=False)
        >>> _, carry = char_rnn_sequence(params, ids[:, :3], train=False)
        >>> last, _ = char_rnn_sequence(params, ids[:, 3:], carry=carry, train=False)
        >>> bool(jnp.allclose(last[:, 0], whole[:, 3], atol=1e-6))
        True
    """
    x = nn.embedding(params["embedding"], ids)
    x = nn.dropout(x, rate, key=subkey(key, "in"), train=train)
    sequence = cell_of(cell).sequence
    x, carry = nn.stacked(
        sequence, params["layers"], x, carry=carry, rate=rate, key=subkey(key, "between"), train=train
    )
    x = nn.dropout(x, rate, key=subkey(key, "out"), train=train)
    return nn.linear(params["out"], x), carry


def char_rnn(characters: int, *, cell: str = "lstm", hidden: int = 256, layers: int = 1, rate: float = 0.0) -> Model:
    """Make the network: embedding, recurrent layers from a carry of zeros, and a linear layer.

    Args:
        characters: how many different ones there are.
        cell: `"rnn"`, `"lstm"` or `"gru"`.
        hidden: the size of the embedding and of each layer.
        layers: how many recurrent layers.
        rate: of dropout.

    Returns:
        A model from ids `[batch, time]` to logits `[batch, time, characters]`.

    Raises:
        ValueError: if there is no such cell.

    Example:
        >>> model = char_rnn(65, cell="gru", hidden=8)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((2, 3), jnp.int32), train=False)[0].shape
        (2, 3, 65)

    Reference:
        Graves, Generating sequences with recurrent neural networks, 2013.
    """

    def apply(params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        logits, _ = char_rnn_sequence(params, ids, cell=cell, rate=rate, key=key, train=train)
        return logits, state

    return make_model(char_rnn_spec(characters, cell=cell, hidden=hidden, layers=layers), apply)


def generate_characters(
    params: Params, prompt: Array, length: int, *, cell: str = "lstm", temperature: float = 1.0, key: Key
) -> Array:
    """Draw characters one after the other, each from the distribution softmax(logits / temperature).

    Args:
        params: of a trained `char_rnn`.
        prompt: ids `[batch, time]` to begin with, at least one.
        length: how many characters to draw.
        cell: as in training.
        temperature: below 1 for the likelier characters, above 1 for more variety, 0 for always the likeliest.
        key: random key.

    Returns:
        ids int32 `[batch, length]`.

    Raises:
        ValueError: if the prompt is empty or the temperature negative.

    Example:
        >>> params, _ = char_rnn(5, hidden=4).init(jax.random.key(0))
        >>> generate_characters(params, jnp.array([[1, 2]]), 6, key=jax.random.key(1)).shape
        (1, 6)
    """
    if prompt.ndim != 2 or prompt.shape[1] < 1:
        raise ValueError(f"generate_characters: prompt must be [batch, time] with time >= 1, got {list(prompt.shape)}")
    if temperature < 0:
        raise ValueError(f"generate_characters: temperature must not be negative, got {temperature}")

    def draw(logits: Array, key: Key) -> Array:
        last = logits[:, -1]
        chosen = jax.random.categorical(key, last / temperature) if temperature else jnp.argmax(last, axis=-1)
        return chosen.astype(jnp.int32)

    def step(carried: tuple[Array, Any], position: Array) -> tuple[tuple[Array, Any], Array]:
        ids, carry = carried
        logits, carry = run(params, ids[:, None], carry=carry)
        ids = draw(logits, subkey(key, position))
        return (ids, carry), ids

    run = functools.partial(char_rnn_sequence, cell=cell, train=False)
    logits, carry = run(params, prompt)
    first = draw(logits, subkey(key, 0))
    _, rest = jax.lax.scan(step, (first, carry), jnp.arange(1, length))
    return jnp.concatenate([first[None], rest]).T
