"""Beam search against listing all sequences and against Hugging Face's `generate`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import decode, models
from tests.decode.chains import WORDS, all_sequences, chain_step, start


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("stop", [(), (3,), (0, 2)])
def test_with_as_many_beams_as_beginnings_the_best_of_all_sequences_are_found(stop, penalty):
    length, beams = 3, WORDS**2
    found = decode.beam_search(
        chain_step(), start(2), jnp.array([[1], [2]]), length, beams=beams, stop=stop, length_penalty=penalty
    )
    for row, first in enumerate([1, 2]):
        listed = all_sequences(first, length, stop)
        scores = {words: sum(logs) / len(logs) ** penalty for words, logs in listed.items()}
        best = sorted(scores, key=scores.get, reverse=True)[0]
        real = np.asarray(found.real[row, 0])
        assert tuple(np.asarray(found.ids[row, 0])[real].tolist()) == best
        np.testing.assert_allclose(found.scores[row, 0], scores[best], rtol=1e-5)
        np.testing.assert_allclose(np.asarray(found.log_probs[row, 0])[real], listed[best], rtol=1e-5)
        for ids, alive, score in zip(*(np.asarray(a[row]) for a in (found.ids, found.real, found.scores)), strict=True):
            if np.isfinite(score):
                np.testing.assert_allclose(score, scores[tuple(ids[alive].tolist())], rtol=1e-5)
        assert np.all(np.diff(np.asarray(found.scores[row])) <= 0)


def test_one_beam_is_the_greedy_choice():
    found = decode.beam_search(chain_step(), start(3), jnp.array([[0], [1], [2]]), 5, beams=1)
    greedy = decode.generate(
        chain_step(), start(3), jnp.array([[0], [1], [2]]), 5, sampling=decode.Sampling(temperature=0.0)
    )
    np.testing.assert_array_equal(found.ids[:, 0], greedy.ids)
    np.testing.assert_allclose(found.log_probs[:, 0], greedy.log_probs, rtol=1e-6)


def test_a_prompt_gets_the_same_beside_others_and_under_vmap():
    prompts = jnp.array([[0, 1], [1, 2], [3, 0]])
    lengths = jnp.array([2, 1, 2])

    def search(prompt, lengths):
        return decode.beam_search(chain_step(), start(prompt.shape[0]), prompt, 4, beams=3, lengths=lengths, stop=[3])

    together = jax.jit(search)(prompts, lengths)
    mapped = jax.vmap(search)(prompts[:, None], lengths[:, None])
    for row in range(3):
        alone = search(prompts[row : row + 1, : int(lengths[row])], None)
        for whole, other, single in zip(together, mapped, alone, strict=True):
            np.testing.assert_allclose(whole[row], single[0], rtol=1e-6)
            np.testing.assert_allclose(other[row, 0], single[0], rtol=1e-6)


def test_a_batch_without_prompts_has_no_sequences():
    found = decode.beam_search(chain_step(), start(0), jnp.zeros((0, 1), jnp.int32), 3, beams=2, stop=[3])
    assert (found.ids.shape, found.scores.shape) == ((0, 2, 3), (0, 2))


@pytest.mark.parametrize(
    ("length", "beams", "message"),
    [(0, 2, "length must be at least 1, got 0"), (3, 0, "beam_search: beams must be at least 1, got 0")],
)
def test_wrong_arguments_are_errors(length, beams, message):
    with pytest.raises(ValueError, match=message):
        decode.beam_search(chain_step(), start(1), jnp.array([[0]]), length, beams=beams)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_memory_of_an_encoder_is_not_reordered(cell):
    """A step that makes new arrays of its memory gives the same, with more gathers."""
    config = models.Seq2SeqConfig(7, 9, cell=cell, embedding=4, hidden=6)
    params, _ = models.seq2seq(config).init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    source = jnp.array([[3, 4, 5, 0], [5, 6, 1, 2]])

    def copying(carry, ids, lengths=None, /):
        logits, after = models.seq2seq_step(config, params)(carry, ids, lengths)
        return logits, jax.tree.map(lambda leaf: leaf + jnp.zeros_like(leaf) if leaf.dtype != bool else ~~leaf, after)

    def search(step, source):
        carry = models.seq2seq_carry(config, params, source)
        return decode.beam_search(step, carry, jnp.ones((2, 1), jnp.int32), 6, beams=3, stop=[2])

    programs = [jax.jit(functools.partial(search, step)) for step in (models.seq2seq_step(config, params), copying)]
    (gathers, more), (found, expected) = zip(
        *((str(jax.make_jaxpr(program)(source)).count(" gather["), program(source)) for program in programs),
        strict=True,
    )
    assert gathers < more
    jax.tree.map(np.testing.assert_array_equal, found, expected)
