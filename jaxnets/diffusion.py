"""Diffusion: data that become noise in steps, and networks that lead the way back.

Step t = 0 to T - 1 of the way to noise keeps a share $a_t$ of the data's variance:

    $x_t = sqrt(a_t) x + sqrt(1 - a_t) noise$

so that $x_0$ is nearly the data and $x_(T-1)$ nearly noise. A network is shown x_t and t and predicts the noise, the
data, or the velocity $v = sqrt(a_t) noise - sqrt(1 - a_t) x$; each of the three follows from any other. `predict(x_t,
t)` is such a network with its parameters bound, for x_t `[batch, ...]` and t int32 `[batch]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.integers import as_integer
from jaxnets.layer import names_errors
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.random import subkey
from jaxnets.types import Array, Key

__all__ = [
    "Estimate",
    "Prediction",
    "add_noise",
    "cosine_schedule",
    "ddim_sample",
    "ddpm_sample",
    "estimate",
    "guided",
    "linear_schedule",
    "training_target",
]

Prediction: TypeAlias = Literal["noise", "data", "velocity"]
"""What a network predicts."""
Predict: TypeAlias = Callable[[Array, Array], Array]
_LEAST = 1e-12
"""The least that estimates are divided by, where a schedule begins with all of the data or ends with none of them."""


class Estimate(NamedTuple):
    """What a prediction says of both parts of x_t.

    Attributes:
        data: the estimate of x, `[batch, ...]`.
        noise: the estimate of the noise, `[batch, ...]`.
    """

    data: Array
    noise: Array


@names_errors
def linear_schedule(steps: int, *, first: float = 1e-4, last: float = 0.02) -> Array:
    """Return $a_t = prod_(s <= t) (1 - beta_s)$, with beta from `first` to `last` in equal steps.

    Args:
        steps: T; the paper has 1,000.
        first: beta_0.
        last: beta_(T-1).

    Returns:
        float32 `[steps]`, falling.

    Raises:
        ValueError: if there are fewer than 2 steps, or a beta is not between 0 and 1.

    Example:
        >>> [f"{share:.5f}" for share in linear_schedule(1000)[jnp.array([0, 500, 999])]]
        ['0.99990', '0.07780', '0.00004']

    Reference:
        Ho, Jain, Abbeel, Denoising diffusion probabilistic models, 2020.
    """
    steps = as_integer("linear_schedule", "steps", steps, at_least=2)
    if not (0 < first < 1 and 0 < last < 1):
        raise ValueError(f"first and last must be between 0 and 1, got {first} and {last}")
    return jnp.asarray(np.cumprod(1 - np.linspace(first, last, steps)), jnp.float32)


@names_errors
def cosine_schedule(steps: int, *, offset: float = 0.008, largest: float = 0.999) -> Array:
    """Return $a_t = f(t + 1) / f(0)$ with $f(t) = cos^2(pi/2 (t/T + offset) / (1 + offset))$.

    $beta_t$ is at most `largest`.

    It turns to noise later than `linear_schedule`, which suits small images.

    Args:
        steps: T.
        offset: keeps the first steps from being too small.
        largest: the bound of $1 - a_t / a_(t-1)$, which matters at the end.

    Returns:
        float32 `[steps]`, falling.

    Raises:
        ValueError: if there are fewer than 2 steps.

    Example:
        >>> [f"{share:.4f}" for share in cosine_schedule(1000)[jnp.array([0, 499, 999])]]
        ['1.0000', '0.4938', '0.0000']

    Reference:
        Nichol, Dhariwal, Improved denoising diffusion probabilistic models, 2021.
    """
    steps = as_integer("cosine_schedule", "steps", steps, at_least=2)
    f = np.cos(np.pi / 2 * (np.arange(steps + 1) / steps + offset) / (1 + offset)) ** 2
    betas = np.minimum(1 - f[1:] / f[:-1], largest)
    return jnp.asarray(np.cumprod(1 - betas), jnp.float32)


@names_errors
def add_noise(shares: Array, x: Array, t: Array, noise: Array) -> Array:
    """Go to step t: $x_t = sqrt(a_t) x + sqrt(1 - a_t) noise$.

    Args:
        shares: a, `[steps]`, of a schedule.
        x: the data, `[batch, ...]`.
        t: int32 `[batch]`, from 0 to steps - 1; others give NaN, here and in the functions below.
        noise: like `x`, of the standard normal distribution.

    Returns:
        `[batch, ...]`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `t` does not hold integers, or `x` no floating-point numbers.

    Example:
        >>> add_noise(jnp.array([0.64, 0.0]), jnp.array([[10.0]]), jnp.array([0]), jnp.array([[1.0]])).round(1)
        Array([[8.6]], dtype=float32)
    """
    signal, rest = _weights(shares, x, t)
    _check_like(x, noise, "noise")
    return signal * x + rest * noise


@names_errors
def training_target(shares: Array, x: Array, t: Array, noise: Array, *, prediction: Prediction = "noise") -> Array:
    """What a network is to predict at $x_t$: the noise, the data, or $v = sqrt(a_t) noise - sqrt(1 - a_t) x$.

    Args:
        shares: a, `[steps]`, of a schedule.
        x: the data, `[batch, ...]`.
        t: int32 `[batch]`.
        noise: like `x`.
        prediction: which of the three.

    Returns:
        `[batch, ...]`.

    Raises:
        ValueError: if shapes do not fit, or the prediction is unknown.
        TypeError: if `t` does not hold integers, or `x` no floating-point numbers.

    Example:
        >>> x, noise = jnp.array([[10.0]]), jnp.array([[1.0]])
        >>> training_target(jnp.array([0.64, 0.0]), x, jnp.array([0]), noise, prediction="velocity").round(4)
        Array([[-5.2]], dtype=float32)

    Reference:
        Ho et al., 2020; for the velocity: Salimans, Ho, Progressive distillation for fast sampling of diffusion models,
        2022.
    """
    _check_prediction(prediction)
    signal, rest = _weights(shares, x, t)
    _check_like(x, noise, "noise")
    return {"noise": noise, "data": x, "velocity": signal * noise - rest * x}[prediction]


@names_errors
def estimate(
    shares: Array,
    x: Array,
    t: Array,
    predicted: Array,
    *,
    prediction: Prediction = "noise",
    bounds: tuple[float, float] | None = None,
) -> Estimate:
    """Say what a prediction means for the data and for the noise in x_t.

    Args:
        shares: a, `[steps]`, of a schedule.
        x: x_t, `[batch, ...]`.
        t: int32 `[batch]`.
        predicted: what the network returned, like `x`.
        prediction: what it is to return.
        bounds: of the data; estimates are clipped to them, and the noise follows.

    Returns:
        Both estimates.

    Raises:
        ValueError: if shapes do not fit, or the prediction is unknown.
        TypeError: if `t` does not hold integers, or `x` no floating-point numbers.

    Example:
        >>> found = estimate(jnp.array([0.64, 0.0]), jnp.array([[8.6]]), jnp.array([0]), jnp.array([[1.0]]))
        >>> found.data.round(4)
        Array([[10.]], dtype=float32)
    """
    _check_prediction(prediction)
    signal, rest = _weights(shares, x, t)
    _check_like(x, predicted, "predicted")
    if prediction == "noise":
        data = (x - rest * predicted) / jnp.maximum(signal, _LEAST)
    elif prediction == "data":
        data = predicted
    else:
        data = signal * x - rest * predicted
    if bounds is not None:
        data = jnp.clip(data, *bounds)
    if prediction == "noise" and bounds is None:
        return Estimate(data, predicted)
    return Estimate(data, (x - signal * data) / jnp.maximum(rest, _LEAST))


def guided(predict: Predict, predict_unconditionally: Predict, scale: float | Array) -> Predict:
    """Follow a condition more than the data do: $p = p_free + scale (p_condition - p_free)$.

    Args:
        predict: the network with the condition bound.
        predict_unconditionally: the same network, with the condition left out, as it was in some training examples.
        scale: 1 is the condition alone, 0 none; larger values trade variety for likeness.

    Returns:
        A function for `ddpm_sample` and `ddim_sample`.

    Example:
        >>> run = guided(lambda x, t: x + 1, lambda x, t: x, 3.0)
        >>> run(jnp.zeros((1, 2)), jnp.zeros(1, int))
        Array([[3., 3.]], dtype=float32)

    Reference:
        Ho, Salimans, Classifier-free diffusion guidance, 2022.

    Warning:
        The paper's w is scale - 1.
    """

    def both(x: Array, t: Array) -> Array:
        free = predict_unconditionally(x, t)
        return free + scale * (predict(x, t) - free)

    return both


@names_errors
def ddpm_sample(
    predict: Predict,
    shares: Array,
    noise: Array,
    *,
    key: Key,
    prediction: Prediction = "noise",
    bounds: tuple[float, float] | None = None,
) -> Array:
    """Go all the way back, with new noise in every step: $x_(t-1) ~ q(x_(t-1) | x_t, x)$, with x as estimated.

    That is normal with mean $(sqrt(a_(t-1)) b_t x + sqrt(1 - b_t) (1 - a_(t-1)) x_t) / (1 - a_t)$ and variance
    $b_t (1 - a_(t-1)) / (1 - a_t)$, $b_t = 1 - a_t / a_(t-1)$. A pure function, for use inside `jax.jit`.

    Args:
        predict: the network, `predict(x_t, t) -> [batch, ...]`.
        shares: a, `[steps]`, of a schedule.
        noise: where to begin, `[batch, ...]`, of the standard normal distribution.
        key: of the new noise.
        prediction: what the network predicts.
        bounds: as in `estimate`.

    Returns:
        Samples, `[batch, ...]`.

    Raises:
        ValueError: if the prediction is unknown, or is not like `noise`.

    Example:
        >>> a = cosine_schedule(50)  # the best network for data that are all 2
        >>> samples = ddpm_sample(lambda x, t: 0 * x + 2, a, jnp.ones((3, 1)), key=jax.random.key(0), prediction="data")
        >>> samples.ravel()
        Array([2., 2., 2.], dtype=float32)

    Reference:
        Ho, Jain, Abbeel, 2020, with the smaller of their two variances.
    """
    before = jnp.concatenate([jnp.ones(1, shares.dtype), shares[:-1]])

    def step(x: Array, at: tuple[Array, Array, Array]) -> tuple[Array, None]:
        t, now, previous = at
        times = jnp.full(x.shape[0], t, jnp.int32)
        predicted = predict(x.astype(noise.dtype), times).astype(x.dtype)
        data = estimate(shares, x, times, predicted, prediction=prediction, bounds=bounds).data
        beta, rest = 1 - _ratio(now, previous), 1 - now
        share = jnp.where(rest == 0, 1, jnp.sqrt(previous) * _ratio(beta, rest))  # without noise, x is the data
        mean = share * data + jnp.sqrt(1 - beta) * _ratio(1 - previous, rest) * x
        deviation = jnp.sqrt(beta * _ratio(1 - previous, rest))  # 0 in the last step
        return mean + deviation * jax.random.normal(subkey(key, t), x.shape, x.dtype), None

    times = jnp.arange(shares.shape[0], dtype=jnp.int32)
    begin, shares, before = (a.astype(compute_dtype(noise)) for a in (noise, shares, before))
    samples: Array = jax.lax.scan(step, begin, (times, shares, before), reverse=True)[0].astype(noise.dtype)
    return samples


@names_errors
def ddim_sample(
    predict: Predict,
    shares: Array,
    noise: Array,
    *,
    steps: int,
    eta: float | Array = 0.0,
    key: Key | None = None,
    prediction: Prediction = "noise",
    bounds: tuple[float, float] | None = None,
) -> Array:
    """Go back in few steps: $x_s = sqrt(a_s) x + sqrt(1 - a_s - d^2) noise + d z$, with both estimated at $x_t$.

    The steps are spread evenly, the first at T - 1; $d = eta sqrt((1 - a_s) / (1 - a_t)) sqrt(1 - a_t / a_s)$, and z is
    new noise. Without it (eta 0) samples are a function of where they begin. A pure function, for use inside `jax.jit`.

    Args:
        predict: the network, `predict(x_t, t) -> [batch, ...]`.
        shares: a, `[steps of training]`, of a schedule.
        noise: where to begin, `[batch, ...]`, of the standard normal distribution.
        steps: how often the network runs, at most as often as the schedule has steps.
        eta: 1 adds as much noise as `ddpm_sample`.
        key: of the new noise; None if eta is 0.
        prediction: what the network predicts.
        bounds: as in `estimate`.

    Returns:
        Samples, `[batch, ...]`.

    Raises:
        ValueError: if there are too many steps or none, the key is missing, or the prediction is unknown.

    Example:
        >>> a = cosine_schedule(1000)  # the best network for data that are all 2
        >>> ddim_sample(lambda x, t: 0 * x + 2, a, jnp.ones((3, 1)), steps=10, prediction="data").ravel()
        Array([2., 2., 2.], dtype=float32)

    Reference:
        Song, Meng, Ermon, Denoising diffusion implicit models, 2021.

    Warning:
        Programs differ in which steps they take; here they are round(linspace(T - 1, 0, steps)), and behind step 0 come
        the data.
    """
    whole, steps = shares.shape[0], as_integer("ddim_sample", "steps", steps, at_least=1)
    if steps > whole:
        raise ValueError(f"steps must be from 1 to {whole}, those of the schedule, got {steps}")
    if key is None and not (isinstance(eta, int | float | np.number) and eta == 0):
        raise ValueError("new noise needs a key: pass key=jax.random.key(seed), or eta=0.0")
    key = jax.random.key(0) if key is None else key  # of no effect
    times = np.round(np.linspace(whole - 1, 0, steps)).astype(np.int32)
    before = jnp.append(shares[times[1:]], jnp.ones(1, shares.dtype))

    def step(x: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        t, previous = at
        now, every = shares[t], jnp.full(x.shape[0], t, jnp.int32)
        predicted = predict(x.astype(noise.dtype), every).astype(x.dtype)
        data, direction = estimate(shares, x, every, predicted, prediction=prediction, bounds=bounds)
        beta = jnp.maximum(1 - _ratio(now, previous), 0)
        deviation = eta * jnp.sqrt(_ratio(1 - previous, 1 - now) * beta)
        along = jnp.sqrt(jnp.maximum(1 - previous - deviation**2, 0))
        z = jax.random.normal(subkey(key, t), x.shape, x.dtype)
        return jnp.sqrt(previous) * data + along * direction + deviation * z, None

    begin, shares, before = (a.astype(compute_dtype(noise)) for a in (noise, shares, before))
    eta = jnp.asarray(eta, begin.dtype)
    samples: Array = jax.lax.scan(step, begin, (jnp.asarray(times), before))[0]
    return samples.astype(noise.dtype)


def _ratio(above: Array, below: Array) -> Array:
    """Divide, with 0 for 0 / 0: a schedule in float32 may reach 1 at its beginning and 0 at its end."""
    return above / jnp.where(below == 0, 1, below)


def _weights(shares: Array, x: Array, t: Array) -> tuple[Array, Array]:
    """sqrt(a_t) and sqrt(1 - a_t), in the shape and dtype to multiply x with."""
    shares, x, t = jnp.asarray(shares), jnp.asarray(x), jnp.asarray(t)
    check_floating(x)
    if not jnp.issubdtype(t.dtype, jnp.integer):
        raise TypeError(f"t must hold integers, got {t.dtype}")
    if x.ndim < 1 or t.shape != x.shape[:1] or shares.ndim != 1:
        got = "{}, {} and {}".format(*(list(array.shape) for array in (shares, x, t)))
        raise ValueError(f"shares must be [steps], x [batch, ...] and t [batch], got {got}")
    # NaN beyond the schedule, as where steps are counted from 1: the last step instead would show nowhere
    share = shares.at[t].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    share = share.reshape(t.shape + (1,) * (x.ndim - 1))
    return jnp.sqrt(share).astype(x.dtype), jnp.sqrt(1 - share).astype(x.dtype)


def _check_like(x: Array, other: Array, name: str) -> None:
    if x.shape != other.shape:
        raise ValueError(f"{name} must be {list(x.shape)}, as x, got {list(other.shape)}")


def _check_prediction(prediction: str) -> None:
    if prediction not in get_args(Prediction):
        raise ValueError(f"prediction must be one of {list(get_args(Prediction))}, got {prediction!r}")
