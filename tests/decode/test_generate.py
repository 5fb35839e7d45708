"""Drawing token by token: against chains whose sequences can be listed, and against reading everything again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jaxnets import decode
from jaxnets.decode import Sampling
from jaxnets.decode.loop import begin, run
from tests.compilations import count_compilations
from tests.decode.chains import TABLES, WORDS, all_sequences, chain_step, start
from tests.forms import needs_devices

GREEDY = Sampling(temperature=0.0)


def test_sequences_are_drawn_with_their_probabilities():
    """The sequences of two tokens, with an end after token 3."""
    found = decode.generate(
        chain_step(), start(40_000), jnp.ones((40_000, 1), jnp.int32), 2, stop=[3], key=jax.random.key(1)
    )
    codes = np.asarray(found.ids[:, 0] * WORDS + jnp.where(found.real[:, 1], found.ids[:, 1], 0))
    for words, log_probs in all_sequences(1, 2, stop=[3]).items():
        expected = np.exp(sum(log_probs))
        rows = codes == words[0] * WORDS + (words[1] if len(words) > 1 else 0)
        assert abs(rows.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / 40_000), words
        np.testing.assert_allclose(np.asarray(found.log_probs)[rows].sum(1), sum(log_probs), rtol=1e-5)


def test_log_probabilities_are_those_of_the_network_whatever_is_drawn():
    sampling = Sampling(temperature=0.3, top_k=2)
    found = decode.generate(
        chain_step(), start(50), jnp.ones((50, 1), jnp.int32), 3, sampling=sampling, key=jax.random.key(2)
    )
    listed = all_sequences(1, 3)
    for ids, log_probs in zip(np.asarray(found.ids), np.asarray(found.log_probs), strict=True):
        np.testing.assert_allclose(log_probs, listed[tuple(ids.tolist())], rtol=1e-5, atol=1e-6)


def test_sequences_end_each_for_itself():
    def count_up(carry, ids):
        return jax.nn.one_hot((ids + 1) % 10, 10), carry + 1

    step = decode.one_by_one(count_up)
    prompt, limits = jnp.array([[3], [7], [5], [2]]), jnp.array([9, 9, 2, 0])
    found = decode.generate(step, start(4), prompt, 6, sampling=GREEDY, stop=[9], limits=limits, pad=-1)
    expected = [[4, 5, 6, 7, 8, 9], [8, 9, -1, -1, -1, -1], [6, 7, -1, -1, -1, -1], [-1] * 6]
    np.testing.assert_array_equal(found.ids, expected)
    np.testing.assert_array_equal(found.real, np.array(expected) >= 0)
    np.testing.assert_array_equal(found.carry, [7, 3, 3, 1])  # the prompt and the tokens, and nothing behind the end
    np.testing.assert_array_equal(jnp.argmax(found.logits, -1), [0, 0, 8, 3])


@pytest.mark.parametrize("length", [0, 1, 6])
def test_the_last_token_need_not_be_read_for_the_same_tokens(length):
    reads = []

    def count_up(carry, ids):
        jax.debug.callback(reads.append, carry[0])
        return jax.nn.one_hot((ids + 1) % 10, 10), carry + 1

    step = decode.one_by_one(count_up)
    prompt, limits = jnp.array([[3], [7], [5], [2]]), jnp.array([9, 9, 2, 0])

    def drawn(read_last):
        logits, carry = decode.read_prompt(step, start(4), prompt)
        begun = begin(logits, carry, prompt, length, lengths=None, sampling=GREEDY, pad=-1)
        settings = {"sampling": GREEDY, "stop": [9], "limits": limits, "pad": -1, "key": None}
        tokens = run(step, begun, length, read_last=read_last, **settings).drawn
        jax.effects_barrier()
        return tokens, len(reads)

    (whole, before), (tokens, total) = drawn(True), drawn(False)
    for wanted, found in zip(whole, tokens, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (before, total - before) == (1 + length, max(1, length))  # the prompt, too


def test_going_on_with_tokens_from_outside_is_drawing_after_all_of_them():
    prompt, key = jnp.array([[1, 2], [0, 0]]), jax.random.key(3)
    lengths = jnp.array([2, 1])
    first = decode.generate(chain_step(), start(2), prompt, 1, lengths=lengths, key=key)
    then = decode.generate(chain_step(), first.carry, jnp.array([[3], [2]]), 2, sampling=GREEDY)
    whole = [[1, 2, int(first.ids[0, 0]), 3], [0, int(first.ids[1, 0]), 2]]
    for row, ids in zip(whole, np.asarray(then.ids), strict=True):
        alone = decode.generate(chain_step(), start(1), jnp.array([row]), 2, sampling=GREEDY)
        np.testing.assert_array_equal(ids, alone.ids[0])


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 9])
def test_a_prompt_may_be_read_in_chunks(chunk):
    tables = np.random.default_rng(5).normal(size=(9, WORDS, WORDS))
    ids, lengths = jnp.array([[1, 2, 3, 0, 1], [2, 3, 0, 0, 0]]), jnp.array([5, 2])
    logits, carry = decode.read_prompt(chain_step(tables), start(2), ids, lengths, chunk=chunk)
    np.testing.assert_array_equal(carry, [5, 2])
    np.testing.assert_allclose(logits, [tables[4, 1], tables[1, 3]], rtol=1e-6)


def test_under_vmap_and_jit_each_prompt_gets_what_it_gets_alone():
    keys = jax.random.split(jax.random.key(0), 5)
    prompts = jnp.arange(5).reshape((5, 1, 1)) % WORDS

    def draw(prompt, key, temperature):
        sampling = Sampling(temperature=temperature, top_p=0.8, repetition_penalty=1.2)
        return decode.generate(chain_step(), start(1), prompt, 6, sampling=sampling, stop=[3], key=key).ids

    mapped = jax.jit(jax.vmap(draw, in_axes=(0, 0, None)))(prompts, keys, 0.7)
    looped = [draw(prompt, key, 0.7) for prompt, key in zip(prompts, keys, strict=True)]
    np.testing.assert_array_equal(mapped, np.stack(looped))
    with count_compilations() as compiled:
        jax.jit(jax.vmap(draw, in_axes=(0, 0, None)))(prompts, keys, 0.7)
        assert compiled.count <= 1


def test_the_repetition_penalty_counts_the_prompt_and_what_was_drawn():
    """Penalized by 1e6, no token comes twice while one is left, whatever the chain prefers."""
    sampling = Sampling(temperature=0.0, repetition_penalty=1e6)
    step = chain_step(np.abs(TABLES) + 1)
    found = decode.generate(step, start(2), jnp.array([[1, 2], [3, 3]]), 3, sampling=sampling)
    assert sorted({*np.asarray(found.ids[0, :2]).tolist(), 1, 2}) == [0, 1, 2, 3]
    assert sorted({*np.asarray(found.ids[1]).tolist(), 3}) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("prompt", "length", "settings", "error", "message"),
    [
        (jnp.zeros((2, 0), jnp.int32), 3, {}, ValueError, r"generate: prompt must be .* time >= 1, got \[2, 0\]"),
        (jnp.zeros(2, jnp.int32), 3, {}, ValueError, r"prompt must be \[batch, time\] with time >= 1, got \[2\]"),
        (jnp.zeros((2, 1)), 3, {}, TypeError, "prompt must hold integers, got float32"),
        (jnp.zeros((2, 1), jnp.int32), -1, {}, ValueError, "length must not be negative, got -1"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"sampling": Sampling()}, ValueError, "drawing tokens needs a key"),
        (
            [[1], [2]],
            3,
            {},
            TypeError,
            r"prompt must be an array .*, got list; write ids, lengths = decode.pad_prompts",
        ),
        (jnp.zeros((2, 1), jnp.int32), 3, {"lengths": jnp.ones(3, int)}, ValueError, r"lengths must be \[2\]"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"lengths": jnp.array([1, 2])}, ValueError, "from 0 to 1, got 1 to 2"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"lengths": jnp.ones(2)}, TypeError, "lengths must be integers"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"limits": jnp.ones(3, int)}, ValueError, r"limits must be \[2\]"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"stop": [1.5]}, TypeError, r"stop must hold the integers .*, got \[1.5\]"),
        (jnp.zeros((2, 1), jnp.int32), 3, {"stop": 2}, TypeError, r"stop must hold the integers .*, got 2"),
    ],
)
def test_wrong_arguments_are_errors(prompt, length, settings, error, message):
    with pytest.raises(error, match=message):
        decode.generate(chain_step(), start(2), prompt, length, **{"sampling": GREEDY} | settings)


@pytest.mark.parametrize("zero", [0, np.float32(0), np.float64(0), np.int64(0)])
def test_numpys_temperature_of_zero_needs_no_key(zero):
    found = decode.generate(chain_step(), start(1), jnp.array([[1]]), 3, sampling=Sampling(temperature=zero))
    np.testing.assert_array_equal(
        found.ids, decode.generate(chain_step(), start(1), jnp.array([[1]]), 3, sampling=GREEDY).ids
    )


def test_tokens_that_end_may_be_a_set_or_traced():
    def drawn(stop):
        return decode.generate(chain_step(), start(1), jnp.array([[1]]), 6, sampling=GREEDY, stop=stop).real

    expected = drawn([3])
    np.testing.assert_array_equal(drawn({3}), expected)
    np.testing.assert_array_equal(jax.jit(lambda end: drawn([end]))(3), expected)


def test_a_carry_without_an_axis_of_sequences_is_an_error():
    with pytest.raises(ValueError, match=r"must be \[batch, ...\] with 2 sequences, got \[\] at carry\['place'\]"):
        decode.generate(
            decode.one_by_one(lambda carry, ids: (jnp.zeros((2, 4)), carry)),
            {"place": jnp.int32(0)},
            jnp.zeros((2, 1), jnp.int32),
            3,
            sampling=GREEDY,
        )


@needs_devices(8)
@pytest.mark.parametrize("draw", ["generate", "lengths", "chunk", "beam_search"])
def test_prompts_divided_over_devices_give_what_they_give_on_one(draw):
    prompts = jnp.asarray(np.random.default_rng(0).integers(0, 4, (8, 2)))
    lengths = jnp.array([1, 2] * 4)

    def ids(prompts, lengths):
        arguments = chain_step(), start(len(prompts)), prompts, 5
        if draw == "beam_search":
            return decode.beam_search(*arguments, beams=2, stop=[3]).ids
        settings = {"lengths": lengths} if draw == "lengths" else {"chunk": 1} if draw == "chunk" else {}
        return decode.generate(*arguments, sampling=GREEDY, stop=[3], **settings).ids

    rows = PartitionSpec("d")
    divided = jax.shard_map(ids, mesh=Mesh(jax.devices(), "d"), in_specs=rows, out_specs=rows)
    np.testing.assert_array_equal(jax.jit(divided)(prompts, lengths), ids(prompts, lengths))
