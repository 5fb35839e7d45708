"""Augmentation of sound: what is drawn is drawn evenly, for each example by itself, and nothing else is changed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import audio
from jaxnets.data import augment
from tests.oracles import normal

KEY = jax.random.key(0)


def test_shift_is_a_roll_filled_at_its_end():
    x = normal(5, 7, 2)
    for steps in ([0, 1, -2, 6, -7], [9, -9, 3, -3, 2]):
        moved = audio.shift(jnp.asarray(x), jnp.array(steps), fill=0.5)
        for example, by, got in zip(x, steps, np.asarray(moved), strict=True):
            expected = np.full_like(example, 0.5)
            if abs(by) < 7:
                expected[max(by, 0) : 7 + min(by, 0)] = example[max(-by, 0) : 7 - max(by, 0)]
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8])
def test_steps_in_small_integers_are_those_steps(dtype):
    """Times beyond 127 and 255 do not fit them."""
    x, steps = normal(2, 400), np.array([3, 100])
    np.testing.assert_array_equal(audio.shift(x, jnp.asarray(steps, dtype)), audio.shift(x, jnp.asarray(steps)))


def test_time_shifts_are_drawn_evenly():
    x = jnp.broadcast_to(jnp.arange(1.0, 12.0)[None], (3000, 11))
    moved = np.asarray(jax.jit(partial(audio.time_shift, steps=2))(x, key=KEY))
    counts = np.bincount(8 - moved[:, 5].astype(int), minlength=5)  # from what is in the middle
    assert counts.sum() == 3000
    # Five standard deviations of a count.
    assert np.all(np.abs(counts - 600) < 5 * np.sqrt(3000 * 0.2 * 0.8))


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 25.0])
def test_the_signal_to_noise_ratio_is_the_given_one(decibels):
    signals, noise = normal(3, 500), 3 + normal(3, 500, seed=1)
    mixed = audio.mix_at(jnp.asarray(signals), jnp.asarray(noise), decibels)
    added = np.asarray(mixed, np.float64) - signals
    ratio = 10 * np.log10((signals.astype(np.float64) ** 2).mean(1) / (added**2).mean(1))
    np.testing.assert_allclose(ratio, decibels, atol=1e-3)
    np.testing.assert_allclose(np.std(added / noise, axis=1), 0, atol=1e-3)  # a multiple of the noise


def test_silence_stays_silent_and_silent_noise_adds_nothing():
    silent, loud = jnp.zeros((1, 9)), jnp.ones((1, 9))
    np.testing.assert_array_equal(audio.mix_at(silent, loud, 0.0), silent)
    np.testing.assert_array_equal(audio.mix_at(loud, silent, 0.0), loud)
    gradient = jax.grad(lambda noise: jnp.sum(audio.mix_at(loud, noise, 0.0)))(silent)
    assert np.isfinite(gradient).all()


def test_noise_is_white_and_of_a_ratio_in_the_range():
    signals = jnp.asarray(normal(400, 256))
    added = np.asarray(audio.add_noise(signals, decibels=(5.0, 15.0), key=KEY) - signals, np.float64)
    ratio = 10 * np.log10((np.asarray(signals, np.float64) ** 2).mean(1) / (added**2).mean(1))
    assert ratio.min() > 5 - 1e-3
    assert ratio.max() < 15 + 1e-3
    assert np.mean(ratio) == pytest.approx(10, abs=5 * 10 / np.sqrt(12 * 400))
    unit = added / np.sqrt((added**2).mean(1, keepdims=True))
    neighbors = (unit[:, 1:] * unit[:, :-1]).mean()
    assert abs(neighbors) < 5 / np.sqrt(unit.size)
    assert np.abs(np.corrcoef(unit[:50])[np.triu_indices(50, 1)]).mean() < 0.1  # each example has its own


MASKS = {"times": (audio.mask_times, 1), "frequencies": (audio.mask_frequencies, 2)}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_one_span_whose_width_and_place_are_drawn_evenly(name):
    mask, axis = MASKS[name]
    examples, width = 4000, 3
    shape = (examples, 8, 5) if axis == 1 else (examples, 5, 8)
    x = 1 + np.abs(normal(*shape))
    masked = np.asarray(jax.jit(partial(mask, width=width, fill=-1.0))(x, key=KEY))
    hidden = (masked == -1).all(axis=3 - axis)
    np.testing.assert_array_equal(masked, np.where(np.expand_dims(hidden, 3 - axis), -1, x))
    widths = hidden.sum(axis=1)
    spans = np.diff(np.pad(hidden.astype(int), ((0, 0), (1, 1))), axis=1)
    assert np.all((spans == 1).sum(axis=1) == (widths > 0))
    counts = np.bincount(widths, minlength=width + 1)
    assert len(counts) == width + 1
    assert np.all(np.abs(counts - examples / 4) < 5 * np.sqrt(examples * 3 / 16))
    for wide in range(1, width + 1):
        first = hidden[widths == wide].argmax(axis=1)
        places, total = 8 - wide + 1, len(first)
        share = 1 / places
        expected, deviation = total * share, np.sqrt(total * share * (1 - share))
        assert np.all(np.abs(np.bincount(first, minlength=places) - expected) < 5 * deviation)


def test_several_masks_are_drawn_independently():
    x = jnp.ones((2000, 40, 4))
    share = 1 - float(jnp.mean(audio.mask_times(x, width=10, count=3, key=KEY)))
    one = 1 - float(jnp.mean(audio.mask_times(x, width=10, count=1, key=KEY)))
    assert one == pytest.approx(5 / 40, abs=0.01)
    assert 2 * one < share < 3 * one


@pytest.mark.parametrize(
    "function",
    [
        partial(audio.time_shift, steps=5),
        partial(audio.mask_times, width=9, count=2),
        partial(audio.mask_frequencies, width=3),
    ],
)
def test_what_an_example_draws_depends_on_key_and_place_alone(function):
    x = jnp.asarray(normal(6, 20, 8))
    whole = function(x, key=KEY)
    np.testing.assert_array_equal(function(x[:4], key=KEY), whole[:4])
    np.testing.assert_array_equal(jax.jit(function)(x, key=KEY), whole)
    assert not np.array_equal(function(x, key=jax.random.key(1)), whole)
    half = function(x.astype(jnp.bfloat16), key=KEY)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), whole, rtol=0.01, atol=0.01)
    chained = augment.chain(function)(x, key=KEY)
    assert chained.shape == x.shape


def test_errors():
    x = jnp.zeros((2, 9, 4))
    with pytest.raises(ValueError, match=r"mask_times: width must be an integer from 0 to 8 and count .*, got 9 and 1"):
        audio.mask_times(x, width=9, key=KEY)
    with pytest.raises(ValueError, match=r"width must be an integer from 0 to 8 and count .*, got 2.5 and 1"):
        audio.mask_times(x, width=2.5, key=KEY)
    with pytest.raises(ValueError, match=r"mask_frequencies: spectrograms must be \[batch, frames, bands, ...\], got"):
        audio.mask_frequencies(x[0], width=1, key=KEY)
    with pytest.raises(ValueError, match=r"time_shift: x must be \[batch, time, ...\], got \[9\]; write x\[None\]"):
        audio.time_shift(x[0, :, 0], steps=1, key=KEY)
    with pytest.raises(ValueError, match="steps must be an integer of at least 0, got -1"):
        audio.time_shift(x, steps=-1, key=KEY)
    with pytest.raises(ValueError, match=r"steps must be an integer of at least 0, got 1.5"):
        audio.time_shift(x, steps=1.5, key=KEY)
    with pytest.raises(ValueError, match="key"):
        audio.time_shift(x, steps=1, key=None)
    with pytest.raises(TypeError, match="shift: steps must be integers, got float32"):
        audio.shift(x, jnp.ones(2))
    with pytest.raises(ValueError, match=r"steps must be one number or \[2\], got \[3\]"):
        audio.shift(x, jnp.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"\[batch, samples\] of one shape, got \[2, 9\] and \[2, 8\]"):
        audio.mix_at(x[:, :, 0], x[:, :8, 0], 0.0)
    with pytest.raises(ValueError, match="decibels must be"):
        audio.add_noise(x[:, :, 0], decibels=(3.0, 1.0), key=KEY)


def test_the_gradient_at_silence_is_that_of_what_stays_silent():
    signals, noise = jnp.zeros((2, 4)).at[0].set(jnp.array([1.0, 2, 3, 4])), jnp.ones((2, 4))
    gradient = jax.grad(lambda s: audio.mix_at(s, noise, 10.0).sum())(signals)
    # the sum is that of the signal and 4 a, with a = sqrt(mean(s^2) / 10) and da/ds = s / (4 sqrt(10 mean(s^2)))
    expected = 1 + np.arange(1, 5) / np.sqrt(10 * 7.5)
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(gradient[1], 1)


def test_steps_beyond_int32_are_an_error():
    with pytest.raises(ValueError, match="steps: JAX has integers as int32, got int64 from 4294967297"):
        audio.shift(jnp.ones((1, 3)), np.array([2**32 + 1]))
