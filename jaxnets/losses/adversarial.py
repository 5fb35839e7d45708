"""Losses of generative adversarial networks: a generator against a discriminator, also called a critic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets.labels import floating, like
from jaxnets.nn.check import require_key
from jaxnets.types import Array, ArrayLike, Key

GanLoss: TypeAlias = Literal["non_saturating", "hinge", "wasserstein"]
"""Which loss generator and discriminator have; see `gan_discriminator`."""

_REAL: dict[str, Callable[[Array], Array]] = {
    "non_saturating": lambda scores: jax.nn.softplus(-scores),
    "hinge": lambda scores: jax.nn.relu(1 - scores),
    "wasserstein": lambda scores: -scores,
}
"""The discriminator's loss of a real example."""

_FAKE: dict[str, Callable[[Array], Array]] = {
    "non_saturating": jax.nn.softplus,
    "hinge": lambda scores: jax.nn.relu(1 + scores),
    "wasserstein": lambda scores: scores,
}
"""The discriminator's loss of a generated example."""


def gan_discriminator(real_scores: ArrayLike, fake_scores: ArrayLike, kind: GanLoss) -> Array:
    """Loss of the discriminator D: how badly it tells real examples x from generated ones g.

    - `"non_saturating"`: $-log sigmoid(D(x)) - log(1 - sigmoid(D(g)))$;
    - `"hinge"`: max(0, 1 - D(x)) + max(0, 1 + D(g));
    - `"wasserstein"`: D(g) - D(x), for a critic whose slope is bounded, as by `gradient_penalty`.

    Args:
        real_scores: `[...]`, floating point: D(x), what comes before a sigmoid; for a discriminator of patches a map.
        fake_scores: `[...]`: D(g), as many.
        kind: which loss.

    Returns:
        `[...]`, one number for each pair of a real and a generated example.

    Raises:
        ValueError: if the shapes differ or `kind` is unknown.
        TypeError: if the real scores are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> gan_discriminator(jnp.array([0.5, 3.0]), jnp.array([-2.0, 0.0]), "hinge")
        Array([0.5, 1. ], dtype=float32)

    Reference:
        Goodfellow et al., Generative adversarial nets, 2014; Lim and Ye, Geometric GAN, 2017 (hinge); Arjovsky,
        Chintala and Bottou, Wasserstein generative adversarial networks, 2017.

    Warning:
        Some programs take half of it, as the mean of the losses of both halves of a batch.
    """
    _check_kind("gan_discriminator", kind)
    real = floating("gan_discriminator", "real_scores", real_scores)
    fake = like("gan_discriminator", "fake_scores", fake_scores, real, "real_scores")
    return _REAL[kind](real) + _FAKE[kind](fake)


def gan_generator(fake_scores: ArrayLike, kind: GanLoss) -> Array:
    """Loss of the generator: how well the discriminator D recognizes what it made, g.

    -log sigmoid(D(g)) if `"non_saturating"`, else -D(g).

    Args:
        fake_scores: `[...]`, floating point: D(g), what comes before a sigmoid.
        kind: which loss; see `gan_discriminator`.

    Returns:
        `[...]`, one number an example.

    Raises:
        ValueError: if `kind` is unknown.
        TypeError: if the scores are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> gan_generator(jnp.array([0.5, -3.0]), "wasserstein")
        Array([-0.5,  3. ], dtype=float32)

    Reference:
        Goodfellow et al., 2014, section 3; see `gan_discriminator`.

    Warning:
        The minimax game of 2014 is log(1 - sigmoid(D(g))), whose gradient vanishes where the discriminator is right;
        practically every program uses the loss here. The generator of the hinge loss has no hinge.
    """
    _check_kind("gan_generator", kind)
    scores = floating("gan_generator", "fake_scores", fake_scores)
    return jax.nn.softplus(-scores) if kind == "non_saturating" else -scores


def _check_kind(function: str, kind: str) -> None:
    if kind not in _REAL:
        raise ValueError(f"{function}: kind must be one of {', '.join(map(repr, _REAL))}, got {kind!r}")


def gradient_penalty(
    critic: Callable[[Array], Array], real: ArrayLike, fake: ArrayLike, key: Key, *, target: float = 1.0
) -> Array:
    """Penalty on a critic D whose slope is not 1: $(|grad D(u)| - 1)^2$.

    The points u lie between real and generated examples.

    $u_i = e_i real_i + (1 - e_i) fake_i$ with e = `jax.random.uniform(key, [batch])`, and $|u|$ the Euclidean norm over
    all entries of an example. It is added to the critic's loss, usually with the factor 10.

    Args:
        critic: the function `x [batch, ...] -> scores [batch]`, such as `lambda x: critic_network(params, x)`. The
            score of an example must not depend on the others: no batch norm in training.
        real: `[batch, ...]`, floating point.
        fake: the same shape.
        key: a typed PRNG key.
        target: the slope that is not penalized.

    Returns:
        `[batch]`, one number an example. Where the gradient of D vanishes, that of the norm is taken as 0.

    Raises:
        ValueError: if the shapes differ, the scores are not `[batch]`, or the key is None.
        TypeError: if the real examples are not floating point.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.ones((2, 3))
        >>> penalties = gradient_penalty(lambda x: x @ jnp.array([0.0, 3.0, 4.0]), x, 2 * x, jax.random.key(0))
        >>> print(penalties)  # (5 - 1)^2
        [16. 16.]

    Reference:
        Gulrajani et al., Improved training of Wasserstein GANs, 2017, equation 3.

    Warning:
        Some programs draw one e for the whole batch, or penalize slopes above 1 only. Arrays of low precision are
        mixed in float32 and given to the critic in their own dtype.
    """
    dtype = jnp.result_type(real)
    reals = floating("gradient_penalty", "real", real)
    fakes = like("gradient_penalty", "fake", fake, reals, "real")
    if reals.ndim < 2:
        raise ValueError(f"gradient_penalty: real must be [batch, ...], got {list(reals.shape)}")
    shares = jax.random.uniform(require_key(key, "gradient_penalty"), reals.shape[:1], reals.dtype)
    shares = jnp.expand_dims(shares, tuple(range(1, reals.ndim)))

    def total(x: Array) -> Array:
        scores = critic(x)
        if scores.shape != reals.shape[:1]:
            advice = "; write .squeeze(-1)" if scores.shape == (*reals.shape[:1], 1) else ""
            raise ValueError(
                f"gradient_penalty: the critic must give scores {list(reals.shape[:1])}, got "
                f"{list(scores.shape)}{advice}"
            )
        return jnp.sum(scores)

    slopes = jax.grad(total)((shares * reals + (1 - shares) * fakes).astype(dtype)).astype(reals.dtype)
    norms = optax.safe_norm(slopes.reshape((len(slopes), math.prod(slopes.shape[1:]))), 0.0, axis=1)
    return jnp.square(norms - jnp.asarray(target, norms.dtype))
