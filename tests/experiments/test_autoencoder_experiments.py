"""The experiments with autoencoders: the published schedule, and what they measure, where it is known."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import losses, models
from jaxnets.experiment import with_presets

vae = importlib.import_module("experiments.mnist_vae")
autoencoder = importlib.import_module("experiments.mnist_autoencoder")


def test_the_published_schedule():
    """Burda et al.: 3^i epochs at 10^(-i/7) of 0.001, for i = 0 to 7, 3,280 in all; two steps an epoch here."""
    rates = np.repeat([1e-3 * 10 ** (-i / 7) for i in range(8)], [2 * 3**i for i in range(8)])
    reference = with_presets(vae.Config(size="reference"), {"reference": vae.REFERENCE})
    assert len(rates) == 2 * reference.epochs == 2 * 3280
    steps = jnp.arange(len(rates))
    rate = jax.vmap(lambda step: vae.published_rate(step, steps_per_epoch=2, first=reference.learning_rate))
    np.testing.assert_allclose(rate(steps), rates, rtol=1e-6)
    assert (reference.test_images, reference.test_samples, reference.batch_size) == (10_000, 5_000, 20)
    assert round(60_000 * reference.validation) == 400
    assert reference.epsilon * reference.batch_size == pytest.approx(1e-4)


def test_the_network_of_the_experiment_begins_with_the_mean_image():
    images = np.array([[0.0, 0.25, 1.0], [0.0, 0.75, 0.5]], np.float32)
    net = vae.network(vae.Config(hidden=(4,), latents=2), 3)
    params = vae.with_mean_image(models.iwae(net).init(jax.random.key(0))[0], images)
    decoded = jax.nn.sigmoid(params["decoder"]["layers"][-1]["linear"]["bias"])
    np.testing.assert_allclose(decoded, [0.001, 0.5, 0.75], rtol=1e-5)


def test_the_likelihood_of_a_part_of_the_images_stands_for_all():
    """Where latents mean nothing, every estimate is exact: the mean cross-entropy of the biases."""
    config = vae.Config(hidden=(4,), latents=2, test_samples=100, test_images=5)
    net = vae.network(config, 6)
    params = jax.tree.map(jnp.zeros_like, models.iwae(net).init(jax.random.key(0))[0])
    bias = jnp.linspace(-1.0, 2.0, 6)
    params["decoder"]["layers"][-1]["linear"]["bias"] = bias
    gray = np.round(np.random.default_rng(0).random((30, 6), np.float32))  # black and white, so that nothing is drawn
    found = vae.test(config, net, params, gray)
    expected = np.sum(losses.binary_cross_entropy(jnp.broadcast_to(bias, gray.shape), gray), axis=1).mean()
    for name in ("nll", "nll_50_samples", "negative_elbo"):
        assert found[name] == pytest.approx(float(expected), rel=1e-5)
    assert found["nll_error"] == pytest.approx(0, abs=1e-5)
    assert found["active_latents"] == 0


def test_principal_components_are_those_of_the_singular_vectors():
    generator = np.random.default_rng(0)
    images = (generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6)) + 3).astype(np.float32)
    singular = np.linalg.svd(images.astype(np.float64) - images.mean(axis=0), compute_uv=False)
    coder = autoencoder.principal_components(images, 2)
    expected = np.sum(singular[2:] ** 2) / images.size
    assert autoencoder.squared_error(coder, images, images) == pytest.approx(expected, rel=1e-4)
