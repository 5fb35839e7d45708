"""Markov chains, whose sequences can all be listed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import decode

WORDS = 4
TABLES = np.random.default_rng(0).normal(size=(3, WORDS, WORDS)).astype(np.float32) * 2  # place, last token, next


def chain_step(tables=TABLES):
    """A step whose logits depend on how many tokens were read and on the last one; the carry is the place."""
    tables = jnp.asarray(tables)
    return decode.one_by_one(lambda place, ids: (tables[jnp.minimum(place, len(tables) - 1), ids], place + 1))


def start(batch):
    return jnp.zeros(batch, jnp.int32)


def all_sequences(first, length, stop=(), tables=TABLES):
    """Every sequence after `first` with its log-probabilities: those of `length` tokens, and those that end before."""
    logs = np.asarray(jax.nn.log_softmax(jnp.asarray(tables), axis=-1), np.float64)
    found = {}
    for words in itertools.product(range(WORDS), repeat=length):
        end = next((i + 1 for i, word in enumerate(words) if word in stop), length)
        words = words[:end]
        last = (first, *words[:-1])
        found[words] = [logs[min(i, len(tables) - 1), a, b] for i, (a, b) in enumerate(zip(last, words, strict=True))]
    return found
