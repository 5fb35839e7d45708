"""The loss in JAX: reconstruction and divergence, summed over the pixels and latent numbers, the mean over images."""

import jax.numpy as jnp
import optax


def loss(logits, mean, log_variance, images):
    reconstruction = optax.sigmoid_binary_cross_entropy(logits, images).sum(-1)
    divergence = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance)).sum(-1)
    return (reconstruction + divergence).mean()
