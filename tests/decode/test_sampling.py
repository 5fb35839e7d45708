"""The rules of sampling against Hugging Face's logits processors, and the shares of what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode
from jaxnets.decode import Sampling
from tests.torchvision_oracle import import_torchvision

LOGITS = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32) * 3
SEEN = np.random.default_rng(1).integers(0, 40, (5, 12))


@pytest.fixture(scope="module")
def processors():
    import_torchvision("torchvision")
    return pytest.importorskip("transformers").generation.logits_process


RULES = {
    "top-k": (Sampling(top_k=7), lambda p: [p.TopKLogitsWarper(7)]),
    "top-k-of-all": (Sampling(top_k=100), lambda p: [p.TopKLogitsWarper(100)]),
    "top-p": (Sampling(top_p=0.83), lambda p: [p.TopPLogitsWarper(0.83)]),
    "top-p-of-one": (Sampling(top_p=0.001), lambda p: [p.TopPLogitsWarper(0.001)]),
    "min-p": (Sampling(min_p=0.04), lambda p: [p.MinPLogitsWarper(0.04)]),
    "temperature": (Sampling(temperature=0.6), lambda p: [p.TemperatureLogitsWarper(0.6)]),
    "penalty": (Sampling(repetition_penalty=1.3), lambda p: [p.RepetitionPenaltyLogitsProcessor(1.3)]),
    "all": (
        Sampling(temperature=1.7, top_k=20, top_p=0.9, min_p=0.02, repetition_penalty=1.3),
        lambda p: [
            p.RepetitionPenaltyLogitsProcessor(1.3),
            p.TemperatureLogitsWarper(1.7),
            p.TopKLogitsWarper(20),
            p.TopPLogitsWarper(0.9),
            p.MinPLogitsWarper(0.02),
        ],
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rules_are_hugging_face_s(name, processors):
    sampling, make = RULES[name]
    expected = torch.tensor(LOGITS)
    for processor in make(processors):
        expected = processor(torch.tensor(SEEN), expected)
    expected = expected.numpy()
    seen = np.zeros(LOGITS.shape, bool)
    np.put_along_axis(seen, SEEN, True, axis=1)
    actual = decode.sampling_logits(jnp.asarray(LOGITS), sampling, jnp.asarray(seen))
    np.testing.assert_array_equal(np.isinf(actual), np.isinf(expected))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_all_but_top_k_may_be_traced():
    @jax.jit
    def traced(temperature, top_p, min_p, penalty):
        sampling = Sampling(temperature, 20, top_p, min_p, penalty)
        return decode.sampling_logits(jnp.asarray(LOGITS), sampling, jnp.zeros(LOGITS.shape, bool))

    sampling = Sampling(1.7, 20, 0.9, 0.02, 1.3)
    expected = decode.sampling_logits(jnp.asarray(LOGITS), sampling, jnp.zeros(LOGITS.shape, bool))
    np.testing.assert_allclose(traced(1.7, 0.9, 0.02, 1.3), expected, rtol=1e-6)


def test_tokens_are_drawn_with_the_probabilities_of_the_rules():
    logits = jnp.broadcast_to(jnp.asarray(LOGITS[0]), (20_000, 40))
    sampling = Sampling(temperature=2.0, top_k=5)
    drawn = decode.draw(logits, sampling, jax.random.key(0))
    shares = np.bincount(np.asarray(drawn), minlength=40) / 20_000
    kept = np.sort(LOGITS[0])[-5]
    weights = np.where(LOGITS[0] >= kept, np.exp(LOGITS[0] / 2.0), 0)
    expected = weights / weights.sum()
    # Five standard deviations of a share.
    assert np.all(np.abs(shares - expected) <= 5 * np.sqrt(expected * (1 - expected) / 20_000))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    logits = jnp.asarray(LOGITS, dtype)
    actual = decode.sampling_logits(logits, Sampling(temperature=0.7, top_p=0.9))
    expected = decode.sampling_logits(logits.astype(jnp.float32), Sampling(temperature=0.7, top_p=0.9))
    assert actual.dtype == jnp.float32
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("sampling", "error", "message"),
    [
        (Sampling(temperature=-1), ValueError, "temperature must be a number from 0, got -1"),
        (Sampling(top_p=1.5), ValueError, "top_p must be a probability, from 0 to 1, got 1.5"),
        (Sampling(temperature="hot"), TypeError, "temperature must be a number from 0, got 'hot'"),
        (Sampling(top_k=2.5), ValueError, "top_k must be an integer of at least 1, got 2.5"),
        (Sampling(top_k=0), ValueError, "top_k must be an integer of at least 1, got 0"),
        (Sampling(repetition_penalty=0), ValueError, "repetition_penalty must be positive, 1 for none, got 0"),
        (Sampling(repetition_penalty=1.2), ValueError, "the repetition penalty needs `seen`"),
        (0.8, TypeError, r"sampling must be a decode.Sampling, got 0.8; write Sampling\(temperature=0.8\)"),
    ],
)
def test_wrong_rules_are_errors(sampling, error, message):
    with pytest.raises(error, match=message):
        decode.sampling_logits(jnp.asarray(LOGITS), sampling)


def test_whole_numbers_are_no_logits():
    with pytest.raises(TypeError, match="logits must be floating point, got int32"):
        decode.sampling_logits(jnp.arange(4), Sampling())


def test_a_missing_key_is_an_error():
    with pytest.raises(ValueError, match=r"drawing tokens needs a key: pass key=jax.random.key\(seed\), or"):
        decode.draw(jnp.asarray(LOGITS), Sampling(), None)


def test_an_infinite_temperature_is_an_error():
    with pytest.raises(ValueError, match="temperature must be a number from 0, got inf"):
        decode.sampling.check_sampling(Sampling(temperature=float("inf")))
