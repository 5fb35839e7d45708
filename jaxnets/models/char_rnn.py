"""A recurrent network that predicts the next character."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import LayerCount, ModelConfig, PositiveInt, Rate, build_model, check_config, one_of
from jaxnets.decode.generate import generate
from jaxnets.decode.loop import Tokens, check_generation
from jaxnets.decode.prompts import prepare_prompts
from jaxnets.decode.sampling import Sampling, traced_rules
from jaxnets.decode.step import Step, last_real
from jaxnets.layer import names_errors
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, ArrayLike, Key, Params, State


class _Cell(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
        spec: makes the spec of a layer.
        sequence: runs it over a sequence.
        carry: makes a carry of zeros.
    """

    spec: Callable[..., Spec]
    sequence: Callable[..., tuple[Array, Any]]
    carry: Callable[..., Any]


_CELLS = {
    "rnn": _Cell(nn.simple_rnn_spec, nn.simple_rnn, nn.simple_rnn_carry),
    "lstm": _Cell(nn.lstm_spec, nn.lstm, nn.lstm_carry),
    "gru": _Cell(nn.gru_spec, nn.gru, nn.gru_carry),
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
    mask: Array | None = None,
    key: Key | None = None,
    train: bool,
) -> tuple[Array, Any]:
    """Embed characters, run recurrent layers over them, and map the results to logits of the next characters.

    Args:
        config: of the network, `model.config`.
        params: of a `char_rnn`.
        ids: integers `[batch, time]`.
        carry: what an earlier call returned, to go on from; None for zeros.
        mask: bool `[batch, time]`, True at real characters; others leave the carry as it is. None if all are.
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
        sequence, params["layers"], x, carry=carry, mask=mask, rate=rate, key=subkey(key, "between"), train=train
    )
    x = nn.dropout(x, rate, key=subkey(key, "out"), train=train)
    return nn.linear(params["out"], x), carry


def char_rnn_step(config: CharRNNConfig, params: Params) -> Step:
    """Make the step of the network for `jaxnets.decode`; its carry is that of `char_rnn_carry`.

    Args:
        config: of the network, `model.config`.
        params: of a `char_rnn`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=5, hidden=4))
        >>> params, _ = model.init(jax.random.key(0))
        >>> carry = char_rnn_carry(model.config, params, batch=1)
        >>> logits, carry = char_rnn_step(model.config, params)(carry, jnp.array([[1, 2]]))
        >>> logits.shape
        (1, 5)
    """
    check_config(config, CharRNNConfig)
    config = dataclasses.replace(config, dropout_rate=0.0)

    def step(carry: Any, ids: Array, lengths: Array | None = None, /) -> tuple[Array, Any]:
        mask = None if lengths is None else jnp.arange(ids.shape[1])[None] < lengths[:, None]
        logits, carry = char_rnn_sequence(config, params, ids, carry=carry, mask=mask, train=False)
        return last_real(logits, lengths), carry

    return step


def char_rnn_carry(config: CharRNNConfig, params: Params, *, batch: int) -> list[Any]:
    """Make the carry of `char_rnn_step`: zeros for each layer, as many sequences as `batch` says.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=5, cell="gru", hidden=4))
        >>> params, _ = model.init(jax.random.key(0))
        >>> char_rnn_carry(model.config, params, batch=2)[0].shape
        (2, 4)
    """
    check_config(config, CharRNNConfig)
    return [_CELLS[config.cell].carry(layer, batch=batch) for layer in params["layers"]]


@names_errors
def generate_characters(
    config: CharRNNConfig,
    params: Params,
    prompt: ArrayLike | Sequence[Sequence[int]],
    length: int,
    *,
    lengths: ArrayLike | None = None,
    sampling: Sampling = Sampling(),
    stop: Sequence[int] = (),
    key: Key | None = None,
) -> Tokens:
    """Draw characters one after the other.

    Compiled once for each config, length and size of the prompts, inside of `jit` and outside of it; prompts that are
    no arrays of JAX are padded to powers of two.

    Args:
        config: of the network, `model.config`.
        params: of a trained `char_rnn`.
        prompt: lists of ids, which may have different lengths, or ids `[batch, time]`; at least one character each.
        length: how many characters to draw at most.
        lengths: `[batch]`, how many characters of each prompt are real if it is an array, the others being at its end;
            None for all.
        sampling: how characters are drawn.
        stop: characters that end a sequence.
        key: random key; None if the likeliest characters are taken.

    Returns:
        The characters `[batch, length]`, their log-probabilities, and which are real.

    Raises:
        TypeError: if the config is of another class, or the prompt does not hold integers.
        ValueError: if a prompt is empty or holds what is no character, lengths do not fit it, a rule of sampling is out
            of range, or the key is missing.

    Example:
        >>> model = char_rnn(CharRNNConfig(vocabulary=5, hidden=4))
        >>> params, _ = model.init(jax.random.key(0))
        >>> generate_characters(model.config, params, [[1, 2]], 6, key=jax.random.key(1)).ids.shape
        (1, 6)
    """
    check_config(config, CharRNNConfig)
    ids, counts = prepare_prompts(prompt, lengths, vocabulary=config.vocabulary)
    check_generation(ids, length, sampling, key)
    config = dataclasses.replace(config, dropout_rate=0.0)  # for training only
    key = jax.random.key(0) if key is None else key  # of no effect
    rules = traced_rules(sampling)
    tokens: Tokens = _generate(config, params, ids, counts, length, rules, sampling.top_k, tuple(stop), key)
    return tokens


@functools.partial(jax.jit, static_argnames=("config", "length", "top_k", "stop"))
def _generate(
    config: CharRNNConfig,
    params: Params,
    prompt: Array,
    lengths: Array,
    length: int,
    rules: Sampling,
    top_k: int | None,
    stop: tuple[int, ...],
    key: Key,
) -> Tokens:
    drawn = generate(
        char_rnn_step(config, params),
        char_rnn_carry(config, params, batch=prompt.shape[0]),
        prompt,
        length,
        lengths=lengths,
        sampling=rules._replace(top_k=top_k),
        stop=stop,
        key=key,
    )
    return Tokens(drawn.ids, drawn.log_probs, drawn.real)
