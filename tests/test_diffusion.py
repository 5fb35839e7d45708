"""Diffusion of normal data, for which the best network is known, and schedules written out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import diffusion
from tests.oracles import normal

MEAN, DEVIATION = 1.5, 0.5
KINDS = ("noise", "data", "velocity")


def best_network(shares, kind):
    """For x normal: E[x | x_t] by the rule of Bayes, and what follows for noise and velocity."""

    def predict(x, t):
        a = shares[t].reshape((-1,) + (1,) * (x.ndim - 1))
        variance = a * DEVIATION**2 + 1 - a
        data = MEAN + jnp.sqrt(a) * DEVIATION**2 / variance * (x - jnp.sqrt(a) * MEAN)
        noise = jnp.sqrt(1 - a) * (x - jnp.sqrt(a) * MEAN) / variance
        return {"noise": noise, "data": data, "velocity": jnp.sqrt(a) * noise - jnp.sqrt(1 - a) * data}[kind]

    return predict


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_distribution_of_the_data(kind):
    shares, count = diffusion.linear_schedule(1000), 20_000
    noise = jax.random.normal(jax.random.key(0), (count, 1))

    def run(noise):
        return diffusion.ddpm_sample(best_network(shares, kind), shares, noise, key=jax.random.key(1), prediction=kind)

    samples = np.asarray(jax.jit(run)(noise))
    assert abs(samples.mean() - MEAN) < 4 * DEVIATION / count**0.5 + 0.005  # four standard errors, and the steps' size
    assert abs(samples.std() / DEVIATION - 1) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_without_new_noise_a_sample_is_the_quantile_of_where_it_began(kind):
    """The flow of normal data moves a standard normal z to mean + deviation z."""
    shares = diffusion.cosine_schedule(1000, largest=0.9999)
    z = jnp.linspace(-2, 2, 9)[:, None]
    samples = diffusion.ddim_sample(best_network(shares, kind), shares, z, steps=500, prediction=kind)
    np.testing.assert_allclose(samples, MEAN + DEVIATION * z, atol=0.02)


def test_all_steps_with_noise_are_ddpm():
    """With eta 1 and every step, both have the same mean and variance at each step."""
    shares = diffusion.linear_schedule(40, last=0.3)
    z = jax.random.normal(jax.random.key(2), (7, 3))
    predict = best_network(shares, "noise")
    same = {"key": jax.random.key(3)}
    ddpm = diffusion.ddpm_sample(predict, shares, z, **same)
    ddim = diffusion.ddim_sample(predict, shares, z, steps=40, eta=1.0, **same)
    np.testing.assert_allclose(ddpm, ddim, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_prediction_says_the_same(kind):
    shares, x, noise = diffusion.linear_schedule(1000), normal(5, 2, 3), normal(5, 2, 3) + 1
    t = jnp.array([0, 10, 300, 700, 999])
    x_t = diffusion.add_noise(shares, x, t, noise)
    for row, step in enumerate(t.tolist()):
        a = math.prod(1 - (1e-4 + (0.02 - 1e-4) * s / 999) for s in range(step + 1))
        np.testing.assert_allclose(x_t[row], a**0.5 * x[row] + (1 - a) ** 0.5 * noise[row], rtol=1e-4, atol=1e-4)
    target = diffusion.training_target(shares, x, t, noise, prediction=kind)
    found = diffusion.estimate(shares, x_t, t, target, prediction=kind)
    np.testing.assert_allclose(found.data[:4], x[:4], rtol=1e-3, atol=2e-3)  # at the end nothing of the data is left
    np.testing.assert_allclose(found.noise[1:], noise[1:], rtol=1e-3, atol=1e-3)


def test_estimates_stay_in_their_bounds_and_the_noise_follows():
    shares, t = diffusion.linear_schedule(1000), jnp.array([500])
    a = float(shares[500])
    found = diffusion.estimate(shares, jnp.array([[3.0]]), t, jnp.array([[0.0]]), bounds=(-1, 1))
    assert float(found.data[0, 0]) == 1
    np.testing.assert_allclose(found.noise[0, 0], (3 - a**0.5) / (1 - a) ** 0.5, rtol=1e-5)


def test_the_cosine_is_that_of_the_paper():
    f = [math.cos((t / 50 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(51)]
    shares = diffusion.cosine_schedule(50)
    np.testing.assert_allclose(shares[:49], [f[t + 1] / f[0] for t in range(49)], rtol=1e-5)
    np.testing.assert_allclose(shares[49], shares[48] * 0.001, rtol=1e-3)  # beta is at most 0.999


def test_guidance_goes_beyond_the_condition():
    run = diffusion.guided(lambda x, t: 2 * x, lambda x, t: x + 1, 1.5)
    x = jnp.array([[4.0]])
    assert float(run(x, jnp.array([0]))[0, 0]) == 5 + 1.5 * (8 - 5)


def test_steps_beyond_the_schedule_are_nan():
    """Also the one that is right where steps are counted from 1."""
    shares, x = diffusion.linear_schedule(10), jnp.ones((3, 2))
    noisy = jax.jit(diffusion.add_noise)(shares, x, jnp.array([9, 10, -1]), x)
    assert np.isnan(noisy[:, 0]).tolist() == [False, True, True]


def test_numpys_eta_of_zero_needs_no_key():
    shares, noise = diffusion.cosine_schedule(10), jnp.ones((3, 1))
    found, expected = (
        diffusion.ddim_sample(lambda x, t: 0 * x, shares, noise, steps=3, eta=eta) for eta in (np.float32(0), 0.0)
    )
    np.testing.assert_array_equal(found, expected)


def test_half_precision_stays_so():
    shares = diffusion.linear_schedule(10)
    z = jnp.ones((2, 3), jnp.bfloat16)
    for samples in (
        diffusion.ddpm_sample(lambda x, t: x, shares, z, key=jax.random.key(0)),
        diffusion.ddim_sample(lambda x, t: x, shares, z, steps=3),
    ):
        assert samples.dtype == jnp.bfloat16


SHARES = diffusion.linear_schedule(10)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (
            lambda x, t: diffusion.linear_schedule(1),
            ValueError,
            "linear_schedule: steps must be an integer of at least 2, got 1",
        ),
        (lambda x, t: diffusion.linear_schedule(9, last=2), ValueError, "first and last must be between 0 and 1"),
        (
            lambda x, t: diffusion.add_noise(SHARES, x, t[:1], x),
            ValueError,
            r"t .batch., got \[10\], \[2, 3\] and \[1\]",
        ),
        (
            lambda x, t: diffusion.add_noise(SHARES, x, t, x[:1]),
            ValueError,
            r"noise must be \[2, 3\], as x, got \[1, 3\]",
        ),
        (lambda x, t: diffusion.add_noise(SHARES, x, t / 2, x), TypeError, "t must hold integers, got float32"),
        (
            lambda x, t: diffusion.add_noise(SHARES, x.astype(jnp.uint8), t, x),
            TypeError,
            "add_noise: x must be floating point, got uint8",
        ),
        (lambda x, t: diffusion.estimate(SHARES, x, t, x, prediction="score"), ValueError, "got 'score'"),
        (
            lambda x, t: diffusion.ddim_sample(lambda x, t: x, SHARES, x, steps=11),
            ValueError,
            "steps must be from 1 to 10",
        ),
        (lambda x, t: diffusion.ddim_sample(lambda x, t: x, SHARES, x, steps=2, eta=1.0), ValueError, "needs a key"),
    ],
)
def test_wrong_arguments_are_errors(run, error, message):
    with pytest.raises(error, match=message):
        run(jnp.ones((2, 3)), jnp.array([0, 1]))


@pytest.mark.parametrize("prediction", ["noise", "data", "velocity"])
@pytest.mark.parametrize(
    "shares",
    [
        diffusion.linear_schedule(1000, first=0.05, last=0.3),  # smaller than any float32 long before its end
        diffusion.cosine_schedule(20000, offset=0.0),  # 1 in float32 at its beginning
        jnp.array([1.0, 1.0, 0.6, 0.2, 0.0, 0.0]),
    ],
    ids=["reaches zero", "begins with one", "both"],
)
def test_schedules_that_reach_zero_or_one_lead_back_to_the_data(shares, prediction):
    """The best network for data that are all 2: noise = (x - 2 sqrt(a)) / sqrt(1 - a)."""

    def predict(x, t):
        a = shares[t][:, None]
        noise = (x - 2 * jnp.sqrt(a)) / jnp.sqrt(jnp.where(a == 1, 1, 1 - a))
        velocity = jnp.sqrt(a) * noise - 2 * jnp.sqrt(1 - a)
        return {"noise": noise, "data": 0 * x + 2, "velocity": velocity}[prediction]

    begin, settings = normal(3, 2), {"prediction": prediction, "bounds": (-3.0, 3.0)}
    samples = diffusion.ddpm_sample(predict, shares, begin, key=jax.random.key(0), **settings)
    np.testing.assert_allclose(samples, 2, rtol=1e-3)
    samples = diffusion.ddim_sample(predict, shares, begin, steps=6, **settings)
    np.testing.assert_allclose(samples, 2, rtol=1e-3)


def test_numpys_arrays_are_schedules_and_steps_too():
    x, t = normal(2, 3), np.array([0, 1])
    np.testing.assert_array_equal(
        diffusion.add_noise(np.asarray(SHARES), x, t, x), diffusion.add_noise(SHARES, jnp.asarray(x), jnp.asarray(t), x)
    )
