"""Sequence to sequence with recurrent layers: an encoder that reads in both directions, and a decoder that attends."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, Rate, build_model, check_config, check_inputs, one_of
from jaxnets.decode.step import Step, one_by_one
from jaxnets.model import Model
from jaxnets.models.transformer import SourceTarget
from jaxnets.nn.check import compute_dtype
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_CELLS: dict[str, tuple[Any, Any, Any]] = {  # the spec, the sequence and the step of a layer
    "lstm": (nn.lstm_spec, nn.lstm, nn.lstm_cell),
    "gru": (nn.gru_spec, nn.gru, nn.gru_cell),
}


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig(ModelConfig):
    """The settings of `seq2seq`.

    Attributes:
        source_vocabulary: how many different source tokens there are.
        target_vocabulary: how many different target tokens there are.
        cell: the kind of recurrent layers, `"lstm"` or `"gru"`.
        attention: `"additive"` (Bahdanau), `"multiplicative"` (Luong) or `"none"`: only the encoder's last state.
        embedding: size of the embeddings.
        hidden: size of each recurrent layer.
        pad: the token that fills short sequences; the encoder does not read it.
        dropout_rate: the probability to drop an entry of the embeddings and of what the last layer gets.
    """

    source_vocabulary: PositiveInt
    target_vocabulary: PositiveInt
    cell: Annotated[str, one_of(_CELLS)] = "gru"
    attention: Annotated[str, one_of(("additive", "multiplicative", "none"))] = "additive"
    embedding: PositiveInt = 256
    hidden: PositiveInt = 512
    pad: int = 0
    dropout_rate: Rate = 0.0


def _spec(config: Seq2SeqConfig) -> Spec:
    """`source`, `target`, `encoder`, `begin` (the decoder's first carry), `decoder`, `attention`, `mix` and `out`."""
    make, hidden, memory = _CELLS[config.cell][0], config.hidden, 2 * config.hidden
    extra = {"additive": memory, "multiplicative": hidden, "none": 0}[config.attention]
    features = {"additive": hidden + memory + config.embedding, "multiplicative": hidden, "none": hidden}
    begin = {"hidden": nn.linear_spec(memory, hidden)}
    spec = {
        "source": nn.embedding_spec(config.source_vocabulary, config.embedding),
        "target": nn.embedding_spec(config.target_vocabulary, config.embedding),
        "encoder": nn.bidirectional_spec(make(config.embedding, hidden)),
        "begin": begin | ({"cell": nn.linear_spec(memory, hidden)} if config.cell == "lstm" else {}),
        "decoder": make(config.embedding + extra, hidden),
        "out": nn.linear_spec(features[config.attention], config.target_vocabulary),
    }
    if config.attention == "additive":
        spec["attention"] = nn.additive_attention_spec(hidden, memory, hidden)
    elif config.attention == "multiplicative":
        spec["attention"] = nn.multiplicative_attention_spec(hidden, memory)
        spec["mix"] = nn.linear_spec(hidden + memory, hidden, bias=False)
    return spec


def _apply(
    config: Seq2SeqConfig, params: Params, state: State, inputs: SourceTarget, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    _check(inputs)
    memory, carry = _encode(config, params, inputs.source, key=subkey(key, "source"), train=train)
    x = _embed(config, params["target"], inputs.target, key=subkey(key, "target"), train=train)
    features, _ = nn.recurrent(lambda *step: _step(config, *step)[:2], _decoder(params, memory), x, carry=carry)
    return _logits(config, params, features, key=subkey(key, "out"), train=train), state


def seq2seq(config: Seq2SeqConfig) -> Model:
    """Make the network: a bidirectional encoder, and a decoder with attention that reads the target (teacher forcing).

    Additive: $c_t = attention(s_(t-1), memory)$, $s_t = cell(s_(t-1), [e_t, c_t])$, $logits_t = W [s_t, c_t, e_t] + b$.
    Multiplicative: $s_t = cell(s_(t-1), [e_t, h_(t-1)])$, $h_t = tanh(W_mix [s_t, attention(s_t, memory)])$,
    $logits_t = W h_t + b$. The decoder begins with tanh of a linear layer of the encoder's two last states.

    Args:
        config: the settings.

    Returns:
        A model from `SourceTarget(source, target)`, ids `[batch, source_time]` and `[batch, target_time]`, to logits
        `[batch, target_time, target_vocabulary]` of each next target token.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = seq2seq(Seq2SeqConfig(11, 13, embedding=4, hidden=8))
        >>> params, state = model.init(jax.random.key(0))
        >>> inputs = SourceTarget(jnp.array([[1, 2, 3, 0]]), jnp.array([[1, 5]]))
        >>> model.apply(params, state, inputs, train=False)[0].shape
        (1, 2, 13)

    Reference:
        Sutskever, Vinyals, Le, Sequence to sequence learning with neural networks, 2014; Bahdanau, Cho, Bengio, Neural
        machine translation by jointly learning to align and translate, 2015; Luong, Pham, Manning, Effective approaches
        to attention-based neural machine translation, 2015.
    """
    return build_model(config, Seq2SeqConfig, _spec, _apply)


def scheduled_sampling(
    config: Seq2SeqConfig,
    params: Params,
    inputs: SourceTarget,
    *,
    rate: float | Array,
    key: Key,
    train: bool,
) -> Array:
    """Compute the logits with some target tokens replaced by those that the network drew at the step before.

    Args:
        config: of the network, `model.config`.
        params: of a `seq2seq`.
        inputs: as for the model.
        rate: the probability to replace a token, which may be traced, as it usually grows during training. The first
            token is never replaced.
        key: random key.
        train: whether dropout drops.

    Returns:
        Logits `[batch, target_time, target_vocabulary]`.

    Raises:
        TypeError: if the config is of another class.
        ValueError: if ids are not `[batch, time]`, or the rate is a number beyond [0, 1].

    Example:
        >>> model = seq2seq(Seq2SeqConfig(11, 13, embedding=4, hidden=8))
        >>> params, _ = model.init(jax.random.key(0))
        >>> inputs = SourceTarget(jnp.array([[1, 2, 3, 0]]), jnp.array([[1, 5]]))
        >>> scheduled_sampling(model.config, params, inputs, rate=0.5, key=jax.random.key(1), train=False).shape
        (1, 2, 13)

    Reference:
        Bengio, Vinyals, Jaitly, Shazeer, Scheduled sampling for sequence prediction with recurrent neural networks,
        2015.
    """
    check_config(config, Seq2SeqConfig)
    _check(inputs)
    if not isinstance(rate, jax.core.Tracer) and not 0 <= rate <= 1:
        raise ValueError(
            f"scheduled_sampling: rate is the probability to replace a token and must be in [0, 1], got {rate}"
        )
    memory, carry = _encode(config, params, inputs.source, key=subkey(key, "source"), train=train)
    decoder, time = _decoder(params, memory), inputs.target.shape[1]

    def step(loop: tuple[Any, Array], at: tuple[Array, Array]) -> tuple[tuple[Any, Array], Array]:
        (carry, drawn), (ids, place) = loop, at
        key_now = subkey(key, place)
        replaced = jax.random.bernoulli(subkey(key_now, "replace"), rate, ids.shape)
        ids = jnp.where(replaced, drawn, ids)
        x = _embed(config, params["target"], ids, key=subkey(key_now, "target"), train=train)
        carry, features, _ = _step(config, decoder, carry, x)
        logits = _logits(config, params, features, key=subkey(key_now, "out"), train=train)
        drawn = jax.random.categorical(subkey(key_now, "draw"), logits.astype(jnp.float32)).astype(jnp.int32)
        return (carry, drawn), logits

    places = jnp.arange(time, dtype=jnp.int32)
    target = inputs.target.astype(jnp.int32)  # what is drawn may not fit small integers
    # The first token counts as drawn, so that it stays.
    _, logits = jax.lax.scan(step, (carry, target[:, 0]), (target.T, places))
    return logits.swapaxes(0, 1)


def seq2seq_attention(config: Seq2SeqConfig, params: Params, inputs: SourceTarget) -> Array:
    """Return the weights of attention, for pictures.

    Args:
        config: of the network, `model.config`, with attention.
        params: of a `seq2seq`.
        inputs: as for the model.

    Returns:
        `[batch, target_time, source_time]`: how much each step of the decoder takes from each source token.

    Raises:
        TypeError: if the config is of another class.
        ValueError: if the network has no attention.

    Example:
        >>> model = seq2seq(Seq2SeqConfig(11, 13, embedding=4, hidden=8))
        >>> params, _ = model.init(jax.random.key(0))
        >>> weights = seq2seq_attention(model.config, params, SourceTarget(jnp.array([[1, 2, 0]]), jnp.array([[1, 5]])))
        >>> weights.shape, bool(weights[0, 0, 2] == 0)
        ((1, 2, 3), True)
    """
    check_config(config, Seq2SeqConfig)
    if config.attention == "none":
        raise ValueError("seq2seq_attention: the network has no attention; make it with attention='additive'")
    _check(inputs)
    memory, carry = _encode(config, params, inputs.source, key=None, train=False)
    decoder = _decoder(params, memory)
    x = _embed(config, params["target"], inputs.target, key=None, train=False)

    def step(carry: Any, x: Array) -> tuple[Any, Array]:
        carry, _, weights = _step(config, decoder, carry, x)
        return carry, weights

    return jax.lax.scan(step, carry, x.swapaxes(0, 1))[1].swapaxes(0, 1)


def seq2seq_carry(config: Seq2SeqConfig, params: Params, source: Array) -> dict[str, Any]:
    """Make the carry of `seq2seq_step`: read the source.

    Args:
        config: of the network, `model.config`.
        params: of a `seq2seq`.
        source: ids `[batch, time]`, padded at the end.

    Returns:
        `memory` and `decoder`, all `[batch, ...]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = seq2seq(Seq2SeqConfig(11, 13, embedding=4, hidden=8))
        >>> params, _ = model.init(jax.random.key(0))
        >>> seq2seq_carry(model.config, params, jnp.array([[1, 2, 3, 0]]))["memory"]["values"].shape
        (1, 4, 16)
    """
    check_config(config, Seq2SeqConfig)
    memory, carry = _encode(config, params, source, key=None, train=False)
    return {"memory": memory, "decoder": carry}


def seq2seq_step(config: Seq2SeqConfig, params: Params) -> Step:
    """Make the step of the decoder for `jaxnets.decode`; its carry is that of `seq2seq_carry`.

    Args:
        config: of the network, `model.config`.
        params: of a `seq2seq`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets import decode
        >>> model = seq2seq(Seq2SeqConfig(11, 13, embedding=4, hidden=8))
        >>> params, _ = model.init(jax.random.key(0))
        >>> carry, begin = seq2seq_carry(model.config, params, jnp.array([[3, 4, 0], [5, 6, 7]])), jnp.ones((2, 1), int)
        >>> decode.beam_search(seq2seq_step(model.config, params), carry, begin, 10, beams=4, stop=[2]).ids.shape
        (2, 4, 10)
    """
    check_config(config, Seq2SeqConfig)

    def one(carry: dict[str, Any], ids: Array) -> tuple[Array, dict[str, Any]]:
        x = _embed(config, params["target"], ids, key=None, train=False)
        after, features, _ = _step(config, _decoder(params, carry["memory"]), carry["decoder"], x)
        return _logits(config, params, features, key=None, train=False), carry | {"decoder": after}

    return one_by_one(one)


def _embed(config: Seq2SeqConfig, params: Params, ids: Array, *, key: Key | None, train: bool) -> Array:
    return nn.dropout(nn.embedding(params, ids), config.dropout_rate, key=key, train=train)


def _check_ids(name: str, ids: Array) -> None:
    if ids.ndim != 2 or ids.shape[1] < 1:
        raise ValueError(f"seq2seq: ids of the {name} must be [batch, time] with time >= 1, got {list(ids.shape)}")


def _check(inputs: SourceTarget) -> None:
    check_inputs(inputs, SourceTarget)
    source, target = inputs
    _check_ids("source", source)
    _check_ids("target", target)
    if source.shape[0] != target.shape[0]:
        raise ValueError(
            f"seq2seq: source and target must be of one batch, got {list(source.shape)} and {list(target.shape)}"
        )


def _encode(
    config: Seq2SeqConfig, params: Params, source: Array, *, key: Key | None, train: bool
) -> tuple[dict[str, Array], dict[str, Any]]:
    """What the decoder attends to, `[batch, time, ...]`, and its first carry, in float32 at least."""
    _check_ids("source", source)
    real = source != config.pad
    x = _embed(config, params["source"], source, key=key, train=train)
    values, ends = nn.bidirectional(_CELLS[config.cell][1], params["encoder"], x, mask=real)
    last = {
        part: jnp.concatenate([_part(ends[way], part) for way in ("forward", "backward")], axis=-1)
        for part in params["begin"]
    }
    wide = compute_dtype(x)
    begin = {part: jnp.tanh(nn.linear(params["begin"][part], last[part].astype(x.dtype)).astype(wide)) for part in last}
    carry: dict[str, Any] = {"state": nn.LSTMCarry(**begin) if config.cell == "lstm" else begin["hidden"]}
    memory = {"values": values, "real": real.astype(x.dtype)}
    if config.attention == "additive":
        memory["projected"] = nn.linear(params["attention"]["memory"], values)
    elif config.attention == "multiplicative":
        carry["fed"] = jnp.zeros((source.shape[0], config.hidden), x.dtype)
    return memory, carry


def _part(carry: Any, part: str) -> Array:
    array: Array = getattr(carry, part) if isinstance(carry, nn.LSTMCarry) else carry
    return array


def _decoder(params: Params, memory: dict[str, Array]) -> dict[str, Any]:
    """What is the same at all steps: the parameters of the decoder, and what it attends to."""
    names = [name for name in ("decoder", "attention", "mix") if name in params]
    return {"memory": memory} | {name: params[name] for name in names}


def _step(config: Seq2SeqConfig, decoder: dict[str, Any], carry: dict[str, Any], x: Array) -> tuple[Any, Array, Array]:
    """One step of the decoder from an embedding `[batch, embedding]`: the carry, features for the logits, weights."""
    cell, memory = _CELLS[config.cell][2], decoder["memory"]
    real = memory["real"] > 0
    if config.attention == "none":
        state, y = cell(decoder["decoder"], carry["state"], x)
        return {"state": state}, y, memory["real"]
    if config.attention == "additive":
        query = _part(carry["state"], "hidden").astype(x.dtype)[:, None]
        contexts, weights = nn.additive_attention(
            decoder["attention"], query, memory["values"], mask=real, projected=memory["projected"]
        )
        state, y = cell(decoder["decoder"], carry["state"], jnp.concatenate([x, contexts[:, 0]], axis=-1))
        return {"state": state}, jnp.concatenate([y, contexts[:, 0], x], axis=-1), weights[:, 0]
    state, y = cell(decoder["decoder"], carry["state"], jnp.concatenate([x, carry["fed"]], axis=-1))
    contexts, weights = nn.multiplicative_attention(decoder["attention"], y[:, None], memory["values"], mask=real)
    fed = jnp.tanh(nn.linear(decoder["mix"], jnp.concatenate([y, contexts[:, 0]], axis=-1)))
    return {"state": state, "fed": fed}, fed, weights[:, 0]


def _logits(config: Seq2SeqConfig, params: Params, features: Array, *, key: Key | None, train: bool) -> Array:
    return nn.linear(params["out"], nn.dropout(features, config.dropout_rate, key=key, train=train))
