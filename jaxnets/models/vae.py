"""The variational autoencoder, whose codes are drawn: a model of the density of its data, and a source of new ones."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from jaxnets import losses
from jaxnets.config import Activation, LayerSizes, ModelConfig, PositiveFloat, PositiveInt, build_model, check_config
from jaxnets.errors import SettingError
from jaxnets.labels import floating, like
from jaxnets.model import Model
from jaxnets.models.mlp import MLPConfig, mlp
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class VAEConfig(ModelConfig):
    """The settings of `vae`; by default those of Burda et al. for MNIST, with one stochastic layer.

    Attributes:
        sizes: of the input, of the encoder's hidden layers, and of the latents. The decoder has them the other way
            round.
        activation: of the hidden layers, a name in `jaxnets.config.ACTIVATIONS`.
        samples: how many latents apply draws for each example.
        deviation: None if the inputs are pixels in [0, 1], whose logits the decoder returns (Bernoulli); for real
            numbers their standard deviation around what the decoder returns (normal).

    Example:
        >>> VAEConfig((784,))
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: VAEConfig: sizes must hold at least those of input and latents, got (784,)
    """

    sizes: LayerSizes = (784, 200, 200, 50)
    activation: Activation = "tanh"
    samples: PositiveInt = 1
    deviation: PositiveFloat | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) < 2:
            raise SettingError(
                f"{type(self).__name__}: sizes must hold at least those of input and latents, got {self.sizes}"
            )


class Posterior(NamedTuple):
    """The normal distribution q(z | x) that the encoder takes for that of the latents of an input.

    Attributes:
        mean: `[batch, latents]`.
        log_variance: `[batch, latents]`.
    """

    mean: Array
    log_variance: Array


class VAEOutputs(NamedTuple):
    """What a `vae` or an `iwae` returns.

    Attributes:
        decoded: `[batch, samples, features]`: logits of pixels, or means of real numbers.
        latents: `[batch, samples, latents]`, drawn from the posterior.
        posterior: of the latents of each input.
    """

    decoded: Array
    latents: Array
    posterior: Posterior


def _encoder(config: VAEConfig) -> Model:
    *sizes, latents = config.sizes
    return mlp(MLPConfig((*sizes, 2 * latents), activation=config.activation))


def _decoder(config: VAEConfig) -> Model:
    return mlp(MLPConfig(config.sizes[::-1], activation=config.activation))


def _spec(config: VAEConfig) -> Spec:
    """`encoder` and `decoder`, each the layers of an `mlp`; the encoder ends in means and log-variances."""
    return {"encoder": _encoder(config).spec, "decoder": _decoder(config).spec}


def _apply(
    config: VAEConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[VAEOutputs, State]:
    if key is None:
        raise ValueError(
            "a key is needed, in evaluation too, because latents are drawn; pass key=jax.random.key(0), or reconstruct "
            "without noise by vae_decode(config, params, vae_encode(config, params, x).mean)"
        )
    posterior = vae_encode(config, params, x)
    latents = _draw(posterior, config.samples, key)
    return VAEOutputs(vae_decode(config, params, latents), latents, posterior), state


def _draw(posterior: Posterior, samples: int, key: Key) -> Array:
    """Draw latents `[batch, samples, latents]` as mean + deviation * noise, so that gradients reach both."""
    mean, deviation = posterior.mean[:, None], jnp.exp(posterior.log_variance / 2)[:, None]
    batch, latents = posterior.mean.shape
    return mean + deviation * jax.random.normal(key, (batch, samples, latents), mean.dtype)


def vae(config: VAEConfig = VAEConfig()) -> Model:
    """Make a variational autoencoder: z from $q(z | x) = N(m(x), v(x))$, $p(x | z)$ of a decoder, and $p(z) = N(0, 1)$.

    Args:
        config: the settings.

    Returns:
        A model from `[batch, features]` to `VAEOutputs`; apply needs a key in evaluation too, and raises a ValueError
        without one. Its loss is `vae_loss`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import functools
        >>> from jaxnets import training
        >>> model = vae(VAEConfig((64, 16, 2)))
        >>> params, state = model.init(jax.random.key(0))
        >>> outputs, _ = model.apply(params, state, jnp.ones((3, 64)), key=jax.random.key(1), train=False)
        >>> outputs.decoded.shape, outputs.latents.shape, outputs.posterior.mean.shape
        ((3, 1, 64), (3, 1, 2), (3, 2))
        >>> loss = training.supervised(model, functools.partial(vae_loss, model.config))  # of batches (x, x)

    Reference:
        Kingma, Welling, Auto-encoding variational Bayes, 2014; the sizes are of Burda, Grosse, Salakhutdinov,
        Importance weighted autoencoders, 2016.
    """
    return build_model(config, VAEConfig, _spec, _apply)


def vae_encode(config: VAEConfig, params: Params, x: Array) -> Posterior:
    """Return the distribution of the latents of inputs.

    Args:
        config: of the network, `model.config`.
        params: of a `vae` or an `iwae`.
        x: `[batch, features]`.

    Returns:
        Means and log-variances, `[batch, latents]` each.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = vae(VAEConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> vae_encode(model.config, params, jnp.ones((3, 64))).log_variance.shape
        (3, 2)
    """
    check_config(config, VAEConfig)
    encoded, _ = _encoder(config).apply(params["encoder"], {}, x, train=False)
    return Posterior(*jnp.split(encoded, 2, axis=-1))


def vae_decode(config: VAEConfig, params: Params, latents: Array) -> Array:
    """Return what the decoder makes of latents.

    Args:
        config: of the network, `model.config`.
        params: of a `vae` or an `iwae`.
        latents: `[..., latents]`.

    Returns:
        `[..., features]`: logits of pixels, `jax.nn.sigmoid` of which are their probabilities, or means.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = vae(VAEConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> vae_decode(model.config, params, jnp.zeros((3, 2))).shape
        (3, 64)
    """
    check_config(config, VAEConfig)
    return _decoder(config).apply(params["decoder"], {}, latents, train=False)[0]  # type: ignore[no-any-return]


def vae_sample(config: VAEConfig, params: Params, count: int, *, key: Key) -> Array:
    """Make new examples: decode latents drawn from $N(0, 1)$.

    Args:
        config: of the network, `model.config`.
        params: of a `vae` or an `iwae`.
        count: how many.
        key: random key.

    Returns:
        `[count, features]`: logits of pixels, or means, as of `vae_decode`; no noise of p(x | z) is added.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = vae(VAEConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> vae_sample(model.config, params, 5, key=jax.random.key(1)).shape
        (5, 64)
    """
    check_config(config, VAEConfig)
    dtype = jax.tree.leaves(params["decoder"])[0].dtype
    return vae_decode(config, params, jax.random.normal(key, (count, config.sizes[-1]), dtype))


def vae_loss(config: VAEConfig, outputs: VAEOutputs, x: Array) -> Array:
    """Return the negative evidence lower bound: $KL(q(z | x) || p(z)) - (1/K) sum_k log p(x | z_k)$.

    Args:
        config: of the network, `model.config`.
        outputs: of the network for `x`, with K samples.
        x: `[batch, features]`, the inputs.

    Returns:
        `[batch]`, in nats: at least -log p(x), on average over the draws.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the config is of another class.

    Example:
        >>> outputs = VAEOutputs(jnp.zeros((1, 1, 3)), jnp.zeros((1, 1, 2)), Posterior(*jnp.zeros((2, 1, 2))))
        >>> print(vae_loss(VAEConfig((3, 2)), outputs, jnp.ones((1, 3))))  # 3 log 2
        [2.0794415]

    Reference:
        Kingma, Welling, Auto-encoding variational Bayes, 2014, equation 7.

    Warning:
        The divergence is computed and not estimated from the samples, which varies less. Many programs take the mean
        over pixels and so weigh it more, by hundreds.
    """
    check_config(config, VAEConfig)
    return losses.gaussian_kl(*outputs.posterior) - jnp.mean(_log_likelihood(config, outputs, x), axis=1)


def vae_log_weights(config: VAEConfig, outputs: VAEOutputs, x: Array) -> Array:
    """Return the log-weights of the samples: $log p(x | z_k) + log p(z_k) - log q(z_k | x)$.

    Args:
        config: of the network, `model.config`.
        outputs: of the network for `x`, with K samples.
        x: `[batch, features]`, the inputs.

    Returns:
        `[batch, samples]`, in nats, for `losses.importance_weighted_bound(..., axis=1)`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the config is of another class.

    Example:
        >>> outputs = VAEOutputs(jnp.zeros((1, 2, 3)), jnp.zeros((1, 2, 2)), Posterior(*jnp.zeros((2, 1, 2))))
        >>> print(vae_log_weights(VAEConfig((3, 2)), outputs, jnp.ones((1, 3))))  # -3 log 2, as q is p
        [[-2.0794415 -2.0794415]]

    Reference:
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016, equation 8.
    """
    check_config(config, VAEConfig)
    z = floating("vae_log_weights", "latents", outputs.latents)
    mean, log_variance = (floating("vae_log_weights", "posterior", of)[:, None] for of in outputs.posterior)
    ratio = jnp.sum(norm.logpdf(z) - norm.logpdf(z, mean, jnp.exp(log_variance / 2)), axis=-1)
    return _log_likelihood(config, outputs, x) + ratio


def _log_likelihood(config: VAEConfig, outputs: VAEOutputs, x: Array) -> Array:
    """The log-likelihood log p(x | z), `[batch, samples]`, in float32 at least."""
    decoded = floating("vae", "decoded", outputs.decoded)
    x = like("vae", "x", x, decoded[:, 0], "what is decoded")[:, None]
    if config.deviation is not None:
        return jnp.sum(norm.logpdf(x, decoded, config.deviation), axis=-1)
    return -jnp.sum(losses.binary_cross_entropy(decoded, jnp.broadcast_to(x, decoded.shape)), axis=-1)


def vae_log_likelihood(
    config: VAEConfig, params: Params, x: Array, *, samples: int = 5000, chunk: int = 50, key: Key
) -> Array:
    """Estimate $log p(x)$ from many samples: $log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x)$, z from $q(z | x)$.

    On average the estimate is at most log p(x), and comes near to it as K grows.

    Args:
        config: of the network, `model.config`.
        params: of a `vae` or an `iwae`.
        x: `[batch, features]`.
        samples: K; 5,000 is usual in published tables.
        chunk: how many samples are in memory at once, a divisor of `samples`: `batch * chunk * features` numbers in
            the last layer.
        key: random key.

    Returns:
        `[batch]`, in nats.

    Raises:
        ValueError: if shapes do not fit, or `chunk` does not divide `samples`.
        TypeError: if the config is of another class.

    Example:
        >>> model = vae(VAEConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> vae_log_likelihood(model.config, params, jnp.ones((3, 64)), samples=100, key=jax.random.key(1)).shape
        (3,)

    Reference:
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016, section 5.
    """
    check_config(config, VAEConfig)
    if not 1 <= chunk <= samples or samples % chunk:
        raise ValueError(f"vae_log_likelihood: chunk must divide samples, got {chunk} and {samples}")
    posterior = vae_encode(config, params, x)

    def bound(index: Array) -> Array:
        latents = _draw(posterior, chunk, subkey(key, index))
        outputs = VAEOutputs(vae_decode(config, params, latents), latents, posterior)
        return losses.importance_weighted_bound(vae_log_weights(config, outputs, x), axis=1)

    bounds = jax.lax.map(bound, jnp.arange(samples // chunk, dtype=jnp.int32))
    return losses.importance_weighted_bound(bounds)  # parts of one size: the mean of their means is that of all
