"""GPT that writes: against Hugging Face's `generate`, and against reading everything again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode, models, unstack, weights
from jaxnets.decode import Sampling
from tests.compilations import count_compilations
from tests.forms import float64
from tests.torchvision_oracle import import_torchvision

CONFIG = models.GPTConfig(vocabulary=71, context=17, layers=2, heads=4, features=32)
MODEL = models.gpt(CONFIG)
SMALL = models.GPTConfig(vocabulary=5, context=8, layers=1, heads=4, features=32)
GREEDY = Sampling(temperature=0.0)
PROMPTS = [[3, 1, 4, 1, 5, 9], [2, 6], [5, 3, 5]]


@pytest.fixture(scope="module")
def theirs():
    import_torchvision("torchvision")  # transformers imports it where it is installed
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=71,
        n_positions=17,
        n_embd=32,
        n_layer=2,
        n_head=4,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    network = transformers.GPT2LMHeadModel(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(scope="module")
def params(theirs):
    return weights.from_torch(theirs.state_dict(), MODEL)[0]


def left_padded(prompts):
    """Prompts as Hugging Face's `generate` takes them, with their mask."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    return ids, mask


def generate_theirs(network, prompts, length, **settings):
    ids, mask = left_padded(prompts)
    with torch.no_grad():
        found = network.generate(
            ids, attention_mask=mask, max_new_tokens=length, pad_token_id=0, do_sample=False, **settings
        )
    return found[:, ids.shape[1] :].numpy()


def random_params(config, seed=0):
    params, _ = models.gpt(config).init(jax.random.key(seed))
    return jax.tree.map(lambda p: p + 0.2 * jax.random.normal(jax.random.key(p.size), p.shape, p.dtype), params)


def test_greedy_tokens_of_prompts_of_different_lengths_are_hugging_face_s(theirs, params):
    drawn = models.generate_tokens(CONFIG, params, PROMPTS, 11, sampling=GREEDY)
    np.testing.assert_array_equal(drawn.ids, generate_theirs(theirs, PROMPTS, 11))
    ids, mask = left_padded(PROMPTS)
    ids, lengths = decode.align_prompts(jnp.asarray(ids.numpy()), jnp.asarray(mask.numpy() == 1))
    aligned = models.generate_tokens(CONFIG, params, ids, 11, lengths=lengths, sampling=GREEDY)
    np.testing.assert_array_equal(aligned.ids, drawn.ids)


def test_blocks_may_be_taken_apart_before(params):
    """Also beyond the context, where the blocks are repeated without a cache."""
    apart = params | {"blocks": unstack(params["blocks"])}
    prompt = np.array([[3, 1, 4, 1], [2, 6, 5, 3]])
    found, expected = (models.generate_tokens(CONFIG, p, prompt, 16, sampling=GREEDY) for p in (apart, params))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, rtol=1e-5, atol=1e-5)


def test_the_end_and_the_repetition_penalty_are_hugging_face_s(theirs, params):
    sampling = GREEDY._replace(repetition_penalty=1.4)
    free = generate_theirs(theirs, PROMPTS, 11, repetition_penalty=1.4)
    stop = int(free[0, 4])
    drawn = models.generate_tokens(CONFIG, params, PROMPTS, 11, sampling=sampling, stop=[stop])
    expected = generate_theirs(theirs, PROMPTS, 11, repetition_penalty=1.4, eos_token_id=stop)
    np.testing.assert_array_equal(drawn.ids[:, : expected.shape[1]], expected)
    assert int(drawn.real[0].sum()) == 1 + list(expected[0]).index(stop)


@pytest.mark.parametrize(
    ("beams", "penalty"),
    [(4, 1.0), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(2, 1.0), (5, 0.0), (3, 2.0)])],
)
def test_beams_are_hugging_face_s(theirs, params, beams, penalty):
    """With one prompt and with three, and a token that ends some of the sequences."""
    prompts = [row[:2] for row in PROMPTS]
    stop = int(generate_theirs(theirs, prompts, 3)[0, 1])
    settings = {"num_beams": beams, "length_penalty": penalty, "num_return_sequences": beams}
    expected = generate_theirs(theirs, prompts, 9, eos_token_id=stop, early_stopping=False, **settings)
    found = decode.beam_search(
        models.gpt_step(CONFIG, params),
        models.gpt_carry(CONFIG, params, batch=3, capacity=12),
        jnp.array(prompts),
        9,
        beams=beams,
        stop=[stop],
        length_penalty=penalty,
        pad=stop,  # as theirs is behind the end
    )
    assert np.any(expected == stop)
    np.testing.assert_array_equal(found.ids.reshape((3 * beams, 9))[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("begun", [3, 17, 20])
def test_beyond_the_context_the_last_tokens_count(theirs, params, begun):
    prompt = np.random.default_rng(begun).integers(0, 71, (2, begun)).astype(np.int32)
    drawn = models.generate_tokens(CONFIG, params, prompt, 20, sampling=GREEDY)
    ids = torch.tensor(prompt).long()
    with torch.no_grad():
        for _ in range(20):
            ids = torch.cat([ids, theirs(ids[:, -17:]).logits[:, -1:].argmax(-1)], dim=1)
    np.testing.assert_array_equal(drawn.ids, ids[:, begun:])


def test_with_the_cache_and_without_it_the_tokens_are_the_same_in_double_precision():
    """Drawn with the same keys; prompts of different lengths reach the end of the context one after the other."""
    with float64():
        params = jax.tree.map(lambda p: np.asarray(p, np.float64), random_params(SMALL))
        ids, lengths = decode.pad_prompts([[1, 2, 3, 4, 0], [2], [3, 1, 2]])
        key, sampling = jax.random.key(5), Sampling(temperature=1.3, top_k=4)
        cached = models.generate_tokens(SMALL, params, ids, 15, lengths=lengths, sampling=sampling, key=key)
        again = decode.generate(
            models.window_step(SMALL, params),
            models.window_carry(SMALL, batch=3),
            jnp.asarray(ids),
            15,
            lengths=jnp.asarray(lengths),
            sampling=sampling,
            key=key,
        )
        np.testing.assert_array_equal(cached.ids, again.ids)
        np.testing.assert_allclose(cached.log_probs, again.log_probs, rtol=0, atol=1e-12)


def test_log_probabilities_are_those_of_the_whole_sequence(params):
    drawn = models.generate_tokens(CONFIG, params, [[1, 2, 3]], 11, sampling=Sampling(top_k=5), key=jax.random.key(1))
    whole = jnp.concatenate([jnp.array([[1, 2, 3]]), drawn.ids], axis=1)
    logits, _ = MODEL.apply(params, {}, whole, train=False)
    expected = jnp.take_along_axis(jax.nn.log_softmax(logits[:, 2:-1]), drawn.ids[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(drawn.log_probs, expected, rtol=1e-4, atol=1e-5)


def test_a_full_context_may_end_a_sequence(params):
    drawn = models.generate_tokens(CONFIG, params, PROMPTS, 14, sampling=GREEDY, when_full="stop")
    np.testing.assert_array_equal(drawn.real.sum(axis=1), [11, 14, 14])
    endless = models.generate_tokens(CONFIG, params, PROMPTS, 14, sampling=GREEDY)
    np.testing.assert_array_equal(drawn.ids, np.where(drawn.real, endless.ids, 0))


def test_padding_beyond_the_context_does_not_count(params):
    ids = jnp.pad(jnp.array([PROMPTS[0]]), ((0, 0), (0, 20)))
    settings = {"sampling": GREEDY, "when_full": "stop"}
    drawn = models.generate_tokens(CONFIG, params, ids, 14, lengths=jnp.array([6]), **settings)
    np.testing.assert_array_equal(drawn.ids, models.generate_tokens(CONFIG, params, PROMPTS[:1], 14, **settings).ids)


def test_a_batch_without_prompts_gets_no_tokens(params):
    drawn = models.generate_tokens(CONFIG, params, jnp.zeros((0, 3), int), 4, sampling=GREEDY)
    assert drawn.ids.shape == (0, 4)


@pytest.mark.slow
def test_tokens_from_outside_go_into_the_cache(params):
    """Drawing, reading the result of a tool, drawing: the same as reading all of it at once."""
    step, carry = models.gpt_step(CONFIG, params), models.gpt_carry(CONFIG, params, batch=2, capacity=17)
    first = decode.generate(step, carry, jnp.array([[1, 2], [3, 4]]), 3, sampling=GREEDY)
    result = jnp.array([[7, 8, 9], [5, 0, 0]])
    then = decode.generate(step, first.carry, result, 4, lengths=jnp.array([3, 1]), sampling=GREEDY)
    for row, tokens in enumerate([[1, 2, *first.ids[0].tolist(), 7, 8, 9], [3, 4, *first.ids[1].tolist(), 5]]):
        alone = models.generate_tokens(CONFIG, params, [tokens], 11, sampling=GREEDY)
        np.testing.assert_array_equal(then.ids[row], alone.ids[0, :4])


def test_generation_is_compiled_once_outside_of_jit():
    """For prompts of up to 16 tokens, other keys, temperatures, parameters and rates of dropout."""
    config = dataclasses.replace(SMALL, context=32)
    params, keys = random_params(config), list(map(jax.random.key, range(5)))
    others = jax.tree.map(lambda leaf: leaf + 1, params)
    dropout = dataclasses.replace(config, dropout_rate=0.1)
    with count_compilations() as first:
        models.generate_tokens(config, params, [[1, 2]], 12, key=keys[0])
    with count_compilations() as later:
        models.generate_tokens(config, params, np.array([[3, 4]]), 12, sampling=Sampling(0.5), key=keys[1])
        models.generate_tokens(
            dataclasses.replace(config), others, [[0, 1, 2, 3] * 4], 12, sampling=GREEDY, key=keys[2]
        )
        models.generate_tokens(dropout, params, [[0]], 12, sampling=Sampling(np.float32(2)), key=keys[3])
    assert first.count > 0
    assert later.count == 0


@pytest.mark.slow
def test_generation_in_jit_is_the_same_with_a_traced_temperature():
    params = random_params(SMALL)
    prompt, key = jnp.array([[1, 2], [3, 4]]), jax.random.key(1)

    @jax.jit
    def generate(params, temperature):
        return models.generate_tokens(SMALL, params, prompt, 12, sampling=Sampling(temperature), key=key).ids

    for temperature in (0.0, 1.5):
        expected = models.generate_tokens(SMALL, params, prompt, 12, sampling=Sampling(temperature), key=key)
        np.testing.assert_array_equal(generate(params, temperature), expected.ids)


@pytest.mark.slow
def test_the_activation_of_the_config_is_that_of_generation():
    """The likeliest tokens of reading the whole text again, by a network whose activation is not the default."""
    model = models.gpt(dataclasses.replace(SMALL, activation="sigmoid"))
    params, state = model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf * 8, params)
    drawn = models.generate_tokens(model.config, params, [[1, 2]], 6, sampling=GREEDY).ids
    by_default = models.generate_tokens(SMALL, params, [[1, 2]], 6, sampling=GREEDY).ids
    ids = jnp.array([[1, 2]])
    apply = jax.jit(lambda params, ids: model.apply(params, state, ids, train=False)[0][:, -1:].argmax(-1))
    for _ in range(6):
        ids = jnp.concatenate([ids, apply(params, ids)], axis=1)
    np.testing.assert_array_equal(drawn, ids[:, 2:])
    assert not np.array_equal(drawn, by_default)


@pytest.mark.slow
def test_half_precision_parameters_have_a_cache_in_half_precision(params):
    low = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    assert models.gpt_carry(CONFIG, low, batch=1, capacity=4)[0]["key"].dtype == jnp.bfloat16
    drawn = models.generate_tokens(CONFIG, low, PROMPTS, 11, sampling=GREEDY)
    logits, _ = MODEL.apply(low, {}, jnp.concatenate([jnp.array([PROMPTS[0]]), drawn.ids[:1]], 1), train=False)
    expected = jnp.take_along_axis(jax.nn.log_softmax(logits[:, 5:-1].astype(jnp.float32)), drawn.ids[:1, :, None], 2)
    np.testing.assert_allclose(drawn.log_probs[:1], expected[..., 0], atol=0.15)


@pytest.mark.parametrize(
    ("prompt", "length", "settings", "error", "message"),
    [
        ([1], 3, {}, ValueError, r"prompt 0 must be a list of at least one id, got an array \[\]"),
        ([[1], []], 3, {}, ValueError, "prompt 1 must be a list of at least one id"),
        ([[0.5]], 3, {}, TypeError, "prompt must hold integers, got float64"),
        ([[1]], -1, {}, ValueError, "length must not be negative, got -1"),
        ([[1] * 9], 3, {"when_full": "stop"}, ValueError, "prompts of 9 tokens are more than the context of 8"),
        ([[1], [2, 5]], 3, {}, ValueError, "prompt 1 holds 5 at position 1, and tokens are from 0 to 4"),
        ([[-1]], 3, {}, ValueError, "prompt 0 holds -1 at position 0"),
        (jnp.ones((1, 2), int), 3, {"lengths": np.array([3])}, ValueError, "lengths must be from 1 to 2, got 3 to 3"),
        ([[1]], 3, {"when_full": "slide"}, ValueError, "when_full must be 'recompute' or 'stop', got 'slide'"),
        ([[1]], 3, {"sampling": Sampling()}, ValueError, "drawing tokens needs a key"),
        ([[1]], 3, {"sampling": Sampling(-1)}, ValueError, "temperature must be a number from 0, got -1"),
    ],
)
def test_wrong_arguments_are_errors(prompt, length, settings, error, message):
    with pytest.raises(error, match=f"generate_tokens: .*{message}"):
        models.generate_tokens(SMALL, {}, prompt, length, **{"sampling": GREEDY} | settings)


def test_a_model_is_no_config():
    with pytest.raises(TypeError, match=r"must be GPTConfig.*got Model; pass model\.config"):
        models.generate_tokens(models.gpt(SMALL), {}, [[1]], 3, sampling=GREEDY)
