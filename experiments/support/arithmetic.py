"""What the experiments with arithmetic share: characters as tokens, a small GPT, its training, and its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import decode, losses, metrics
from jaxnets.config import PositiveInt
from jaxnets.data import Vocabulary, encode_all, pad_sequences, until_end
from jaxnets.decode import Sampling
from jaxnets.experiment import Settings
from jaxnets.model import Model
from jaxnets.models import GPTConfig, gpt, gpt_carry, gpt_step
from jaxnets.random import subkey
from jaxnets.regularizers import decay_mask
from jaxnets.training import Loss, compile_step, init_train_state, make_step, scan_steps

VOCABULARY = Vocabulary("0123456789+-*/=,:[];!?", ("pad", "end"))
PAD, END = VOCABULARY.special["pad"], VOCABULARY.special["end"]
EQUALS = int(VOCABULARY.encode("=")[0])
ROWS = 500
"""How many questions are answered at once."""
GREEDY = Sampling(temperature=0.0)


@dataclasses.dataclass(frozen=True)
class NetworkSettings(Settings):
    """Of the network and its supervised training."""

    layers: PositiveInt = 2
    """How many blocks."""
    heads: PositiveInt = 4
    """Of attention."""
    features: PositiveInt = 96
    """Of a character within the network."""
    batch_size: int = 64
    """Examples per step."""
    learning_rate: float = 2e-3
    """AdamW's learning rate after 100 steps of warm-up; it falls to a tenth along a cosine."""
    dropout_rate: float = 0.0
    """The probability to drop an entry of the embeddings and of what blocks add, and an attention weight."""


def make_network(config: NetworkSettings, *, context: int) -> GPTConfig:
    """A GPT over the characters."""
    return GPTConfig(
        vocabulary=VOCABULARY.size,
        context=context,
        layers=config.layers,
        heads=config.heads,
        features=config.features,
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.dropout_rate,
    )


def encode(texts: Sequence[str], width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Number the characters of texts and their ends: ids `[texts, width]`, and weights `[texts, width - 1]`.

    The weights are 1 where the next character is one that the model has to write, behind the first `=`.
    """
    sequences = encode_all(VOCABULARY, texts, end=True)
    ids, _ = pad_sequences(sequences, width or max(map(len, sequences)))
    behind_question = np.cumsum(ids == EQUALS, axis=1)[:, :-1] > 0
    return ids, (behind_question & (ids[:, 1:] != PAD)).astype(np.float32)


def next_character_loss(model: Model) -> Loss:
    """Mean cross-entropy, in nats, of the characters that the model has to write."""

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        ids, weights = batch
        logits, state = model.apply(params, state, ids[:, :-1], key=key, train=train)
        mean = losses.sequence_cross_entropy(logits, ids[:, 1:], weights)
        return mean, (state, {"loss": mean})

    return loss


Measure: TypeAlias = Callable[[int, float, Any], None]
"""Is called with the step, the loss since the last call, and the parameters."""


def make_train(config: NetworkSettings, network: GPTConfig, steps: int, *, times: int = 5) -> Callable[..., Any]:
    """Make `train(ids, weights, measure, start=None)`: train on what `encode` returns, measuring so many times.

    It returns the parameters, and goes on from the parameters `start`, if they are given. One program is compiled for
    all numbers of examples of the same width.
    """
    model = gpt(network)
    warm_up = min(100, steps // 10)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warm_up, steps, end_value=config.learning_rate / 10
    )
    adamw = optax.adamw(rate, b2=0.99, weight_decay=0.1, mask=decay_mask)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    run = compile_step(scan_steps(make_step(next_character_loss(model), optimizer)))
    at_once = max(1, steps // times)

    def train(ids: np.ndarray, weights: np.ndarray, measure: Measure, start: Any = None) -> Any:
        generator = np.random.default_rng(config.seed)
        start = jax.tree.map(jnp.copy, start)  # a step takes the memory of what it is given
        train_state = init_train_state(model, optimizer, config.seed, params=start)
        for _ in range(times):
            rows = generator.integers(0, len(ids), (at_once, config.batch_size))
            train_state, measured = run(train_state, (ids[rows], weights[rows]))
            loss = metrics.compute(metrics.reduce(measured))["loss"]
            measure(int(train_state.step), float(loss), train_state.params)
        return train_state.params

    return train


def make_answer(network: GPTConfig, width: int, length: int, sampling: Sampling = GREEDY) -> Callable[..., list[str]]:
    """Make `answer(params, questions, key=None)`: what the network writes behind each question.

    A text is cut at the token that ends it; one without it has `?` behind it, which no right answer has.

    Args:
        network: its settings.
        width: of the longest question.
        length: how many characters to write at most.
        sampling: how they are drawn.
    """
    run = jax.jit(lambda params, ids, lengths, key: draw(network, params, ids, lengths, length, sampling, key).ids)

    def answer(params: Any, questions: Sequence[str], key: Any = None) -> list[str]:
        ids, lengths = pad_sequences([VOCABULARY.encode(question) for question in questions], width)
        missing = -len(ids) % ROWS  # all calls have the same shapes, so that one program is compiled
        ids, lengths = np.pad(ids, ((0, missing), (0, 0)), mode="wrap"), np.pad(lengths, (0, missing), mode="wrap")
        starts = range(0, len(ids), ROWS)
        keys = [None if key is None else subkey(key, first) for first in starts]
        drawn = [run(params, ids[n : n + ROWS], lengths[n : n + ROWS], k) for n, k in zip(starts, keys, strict=True)]
        return [read(row) for row in np.concatenate(drawn)[: len(questions)]]

    return answer


def draw(
    network: GPTConfig, params: Any, ids: Any, lengths: Any, length: int, sampling: Sampling, key: Any
) -> decode.Generated:
    """Draw at most `length` characters behind questions, with keys and values of the past; for use inside `jit`."""
    carry = gpt_carry(network, params, batch=ids.shape[0], capacity=ids.shape[1] + length)
    step = gpt_step(network, params)
    return decode.generate(step, carry, ids, length, lengths=lengths, sampling=sampling, stop=[END], pad=PAD, key=key)


def read(ids: np.ndarray) -> str:
    """The text of drawn tokens, `?` behind it if it has no end."""
    text = VOCABULARY.decode(until_end(ids, END))
    return text if END in ids else text + "?"
