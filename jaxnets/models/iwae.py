"""The importance-weighted autoencoder: the network of `vae`, trained by a bound that more samples make tighter."""

from __future__ import annotations

import dataclasses

from jaxnets import losses
from jaxnets.config import PositiveInt, check_config
from jaxnets.model import Model
from jaxnets.models.vae import VAEConfig, VAEOutputs, vae, vae_log_weights
from jaxnets.types import Array


@dataclasses.dataclass(frozen=True)
class IWAEConfig(VAEConfig):
    """The settings of `iwae`: those of `VAEConfig`, with 50 samples by default.

    Attributes:
        samples: how many latents apply draws for each example.

    Example:
        >>> IWAEConfig()
        IWAEConfig(sizes=(784, 200, 200, 50), activation='tanh', samples=50, deviation=None)
    """

    samples: PositiveInt = 50


def iwae(config: IWAEConfig = IWAEConfig()) -> Model:
    """Make an importance-weighted autoencoder: a `vae` whose loss, `iwae_loss`, weighs its samples.

    `vae_encode`, `vae_decode`, `vae_sample` and `vae_log_likelihood` are its functions too.

    Args:
        config: the settings.

    Returns:
        A model from `[batch, features]` to `VAEOutputs`; apply needs a key in evaluation too, and raises a ValueError
        without one.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import functools
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import training
        >>> model = iwae(IWAEConfig((64, 16, 2), samples=5))
        >>> params, state = model.init(jax.random.key(0))
        >>> loss = training.supervised(model, functools.partial(iwae_loss, model.config))
        >>> x = jnp.ones((3, 64))
        >>> value, _ = loss(params, state, (x, x), key=jax.random.key(1), train=True)
        >>> value.shape
        ()

    Reference:
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016.
    """
    check_config(config, IWAEConfig)
    return vae(config)


def iwae_loss(config: VAEConfig, outputs: VAEOutputs, x: Array) -> Array:
    """Return the negative importance-weighted bound: $-log (1/K) sum_k p(x | z_k) p(z_k) / q(z_k | x)$.

    Args:
        config: of the network, `model.config`.
        outputs: of the network for `x`, with K samples.
        x: `[batch, features]`, the inputs.

    Returns:
        `[batch]`, in nats: at least -log p(x), on average over the draws, and nearer to it the more samples there are.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets.models import Posterior
        >>> decoded = jnp.array([[[0.0], [jnp.log(3.0)]]])  # two samples: probabilities 1/2 and 3/4
        >>> outputs = VAEOutputs(decoded, jnp.zeros((1, 2, 1)), Posterior(*jnp.zeros((2, 1, 1))))
        >>> print(jnp.exp(-iwae_loss(IWAEConfig((1, 1), samples=2), outputs, jnp.ones((1, 1)))))
        [0.625]

    Reference:
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders, 2016, equation 8.
    """
    return -losses.importance_weighted_bound(vae_log_weights(config, outputs, x), axis=1)
