"""Autoencoders against the same networks in PyTorch, and the likelihood of a VAE where it is known exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from jaxnets import models
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity

SIZES = (6, 5, 4, 3)
REAL = normal(4, 6)
PIXELS = (REAL > 0).astype(np.float32)
KEY = jax.random.key(0)


def noisy(model, seed=0):
    """Parameters away from their initial values."""
    params, _ = jax.eval_shape(model.init, KEY)
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (0.5 * generator.normal(size=leaf.shape)).astype(np.float32), params)


def perceptron(params, x, activation):
    *hidden, last = [layer["linear"] for layer in params["layers"]]
    for layer in hidden:
        x = activation(x @ layer["kernel"] + layer["bias"])
    return x @ last["kernel"] + last["bias"]


@pytest.mark.parametrize(("name", "activation"), [("relu", torch.relu), ("tanh", torch.tanh)])
def test_the_autoencoder_is_that_of_torch(name, activation):
    config = models.AutoencoderConfig(SIZES, activation=name)
    model = models.autoencoder(config)

    def ours(params, x):
        codes = models.autoencoder_encode(config, params, x)
        decoded = models.autoencoder_decode(config, params, codes)
        return codes, decoded, model.apply(params, {}, x, train=True)[0]

    def theirs(params, x):
        codes = perceptron(params["encoder"], x, activation)
        decoded = perceptron(params["decoder"], codes, activation)
        return codes, decoded, decoded

    assert_parity(ours, theirs, noisy(model), REAL)


def noise_of(model, params, x):
    """The standard normal numbers with which a network draws its latents under `KEY`."""
    outputs, _ = quick_jit(lambda params, x: model.apply(params, {}, x, key=KEY, train=True))(params, x)
    mean, log_variance = (np.asarray(of)[:, None] for of in outputs.posterior)
    return torch.tensor((np.asarray(outputs.latents) - mean) / np.exp(log_variance / 2))


@pytest.mark.parametrize("kind", ["vae", "iwae"])
@pytest.mark.parametrize("deviation", [None, 0.7], ids=["bernoulli", "normal"])
def test_the_bounds_and_their_gradients_are_those_of_torch(kind, deviation):
    config_class, make, loss = {
        "vae": (models.VAEConfig, models.vae, models.vae_loss),
        "iwae": (models.IWAEConfig, models.iwae, models.iwae_loss),
    }[kind]
    config = config_class(SIZES, samples=5, deviation=deviation)
    model, x = make(config), PIXELS if deviation is None else REAL
    params = noisy(model)
    noise = noise_of(model, params, x)
    assert 0.5 < noise.std() < 1.5
    assert len(noise.unique()) == noise.numel() == 4 * 5 * 3

    def ours(params):
        outputs, _ = model.apply(params, {}, x, key=KEY, train=True)
        return loss(config, outputs, x)

    def theirs(params):
        target = torch.tensor(x)[:, None]
        mean, log_variance = perceptron(params["encoder"], torch.tensor(x), torch.tanh).chunk(2, dim=-1)
        q, prior = Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)
        z = q.mean[:, None] + q.stddev[:, None] * noise
        decoded = perceptron(params["decoder"], z, torch.tanh)
        p = Bernoulli(logits=decoded) if deviation is None else Normal(decoded, deviation)
        log_likelihood = p.log_prob(target).sum(-1)
        if kind == "vae":
            return kl_divergence(q, prior).sum(-1) - log_likelihood.mean(dim=1)
        log_q = Normal(q.mean[:, None], q.stddev[:, None]).log_prob(z).sum(-1)
        log_weights = log_likelihood + prior.log_prob(z).sum(-1) - log_q
        return np.log(5) - torch.logsumexp(log_weights, dim=1)

    assert_parity(ours, theirs, params, rtol=1e-4, atol=2e-5)


def linear_normal(deviation, latents):
    """A VAE without hidden layers, its parameters, and the exact p(x) = N(b, W'W + deviation^2 I)."""
    config = models.VAEConfig((4, latents), deviation=deviation)
    params = noisy(models.vae(config), seed=1)
    decoder = params["decoder"]["layers"][0]["linear"]
    covariance = decoder["kernel"].T @ decoder["kernel"] + deviation**2 * np.eye(4)
    return config, params, scipy.stats.multivariate_normal(decoder["bias"], covariance)


def test_each_sample_gives_the_likelihood_if_the_encoder_knows_the_posterior():
    """log p(x | z) + log p(z) - log p(z | x) = log p(x), whatever z is."""
    deviation = 0.6
    config, params, exact = linear_normal(deviation, latents=1)
    decoder = params["decoder"]["layers"][0]["linear"]
    precision = 1 + np.sum(decoder["kernel"] ** 2) / deviation**2
    to_mean = decoder["kernel"].T / (precision * deviation**2)
    encoder = {
        "kernel": np.concatenate([to_mean, np.zeros((4, 1))], axis=1).astype(np.float32),
        "bias": np.concatenate([-decoder["bias"] @ to_mean, [-np.log(precision)]]).astype(np.float32),
    }
    params = params | {"encoder": {"layers": [{"linear": encoder}]}}
    config = dataclasses.replace(config, samples=3)
    x = normal(5, 4)
    outputs, _ = models.vae(config).apply(params, {}, x, key=KEY, train=False)
    expected = np.broadcast_to(exact.logpdf(x)[:, None], (5, 3))
    np.testing.assert_allclose(models.vae_log_weights(config, outputs, x), expected, rtol=1e-4)


def test_the_estimate_reaches_the_likelihood_of_a_linear_model():
    config, params, exact = linear_normal(0.8, latents=2)
    x = normal(3, 4, seed=4)
    wide = {"kernel": np.full((4, 4), 0.1, np.float32), "bias": np.array([0, 0, 0.5, 0.5], np.float32)}
    params = params | {"encoder": {"layers": [{"linear": wide}]}}  # wider than the posterior, so that no weight is huge
    estimate = jax.jit(lambda key: models.vae_log_likelihood(config, params, x, samples=40_000, chunk=10_000, key=key))
    np.testing.assert_allclose(estimate(KEY), exact.logpdf(x), atol=0.02)


def test_the_estimate_reaches_the_integral_over_the_latent_of_black_and_white_pixels():
    config = models.VAEConfig((6, 5, 1))
    params = noisy(models.vae(config), seed=2)
    decoder = jax.tree.map(lambda leaf: leaf.astype(np.float64), params["decoder"])

    def density(z, x):
        probability = 1 / (1 + np.exp(-perceptron(decoder, np.array([z]), np.tanh)))
        return scipy.stats.norm.pdf(z) * np.prod(np.where(x > 0, probability, 1 - probability))

    expected = [np.log(scipy.integrate.quad(density, -9, 9, args=(x,))[0]) for x in PIXELS]
    estimate = jax.jit(lambda key: models.vae_log_likelihood(config, params, PIXELS, samples=20_000, key=key))
    np.testing.assert_allclose(estimate(KEY), expected, atol=0.02)


def test_more_samples_tighten_the_bound_of_iwae_and_not_that_of_vae():
    x = np.repeat(PIXELS[:1], 2000, axis=0)
    losses = {}
    for samples in (1, 8):
        config = models.IWAEConfig(SIZES, samples=samples)
        params = noisy(models.iwae(config))
        outputs, _ = jax.jit(lambda x, c=config, p=params: models.iwae(c).apply(p, {}, x, key=KEY, train=True))(x)
        losses[samples] = [float(jnp.mean(loss(config, outputs, x))) for loss in (models.vae_loss, models.iwae_loss)]
    assert losses[8][0] == pytest.approx(losses[1][0], abs=0.05)  # computed and estimated divergence agree, too
    assert losses[1][1] == pytest.approx(losses[1][0], abs=0.1)
    assert losses[8][1] < losses[8][0] - 0.3


def test_samples_are_decoded_from_the_prior():
    """Without hidden layers they are normal, with the mean and the covariance of the decoder."""
    config, params, exact = linear_normal(1.0, latents=2)
    samples = np.asarray(models.vae_sample(config, params, 50_000, key=KEY))
    np.testing.assert_allclose(samples.mean(axis=0), exact.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), exact.cov - np.eye(4), atol=0.03)


def test_what_is_missing_or_does_not_fit_is_said():
    model = models.vae(models.VAEConfig(SIZES))
    params = noisy(model)
    with pytest.raises(
        ValueError, match=r"a key is needed, in evaluation too, .* vae_encode\(config, params, x\).mean"
    ):
        model.apply(params, {}, PIXELS, train=False)
    outputs, _ = model.apply(params, {}, PIXELS, key=KEY, train=False)
    with pytest.raises(ValueError, match=r"what is decoded and x must have the same shape, got \[4, 6\] and \[2, 6\]"):
        models.vae_loss(model.config, outputs, PIXELS[:2])
    with pytest.raises(ValueError, match=r"last axis must be 6 .* got x \[4, 5\]"):
        model.apply(params, {}, PIXELS[:, :5], key=KEY, train=False)
    with pytest.raises(ValueError, match="chunk must divide samples, got 3 and 10"):
        models.vae_log_likelihood(model.config, params, PIXELS, samples=10, chunk=3, key=KEY)
    with pytest.raises(TypeError, match=r"config must be IWAEConfig\(...\), got VAEConfig"):
        models.iwae(model.config)
    with pytest.raises(ValueError, match="IWAEConfig: sizes must hold at least those of input and latents"):
        models.IWAEConfig((784,))
