"""Drawing the next token from logits."""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array, Key


class Sampling(NamedTuple):
    """How the next token is drawn. All but `top_k` may be traced; None leaves a rule out.

    Attributes:
        temperature: divides the logits; below 1 for the likelier tokens, above 1 for more variety, 0 for always the
            likeliest.
        top_k: draw from the k likeliest tokens.
        top_p: draw from the likeliest tokens whose probabilities add up to at least p.
        min_p: draw from the tokens at least p times as likely as the likeliest.
        repetition_penalty: positive logits of tokens that occurred are divided by it, negative ones multiplied.

    Example:
        >>> Sampling(temperature=0.8, top_k=40)
        Sampling(temperature=0.8, top_k=40, top_p=None, min_p=None, repetition_penalty=None)

    Reference:
        Top-k: Fan et al., Hierarchical neural story generation, 2018. Top-p: Holtzman et al., The curious case of
        neural text degeneration, 2020. Min-p: Nguyen et al., Turning up the heat, 2024. Repetition penalty: Keskar et
        al., CTRL, 2019.
    """

    temperature: float | Array = 1.0
    top_k: int | None = None
    top_p: float | Array | None = None
    min_p: float | Array | None = None
    repetition_penalty: float | Array | None = None


def sampling_logits(logits: Array, sampling: Sampling, seen: Array | None = None) -> Array:
    """Return the logits of the distribution that is drawn from; tokens that are left out have -inf.

    In this order: the repetition penalty, the temperature, top-k, top-p, min-p.

    Args:
        logits: `[..., vocabulary]`, floating point.
        sampling: the rules. A temperature of 0 counts as 1 here.
        seen: bool `[..., vocabulary]`, which tokens occurred; for the repetition penalty.

    Returns:
        `[..., vocabulary]`, in float32 at least.

    Raises:
        ValueError: if a rule is out of range, or `seen` is missing.
        TypeError: if the logits are not floating point, or a rule is no number.

    Example:
        >>> sampling_logits(jnp.array([2.0, 1.0, 0.5, 0.0]), Sampling(top_p=0.7))  # shares 0.59, 0.22, 0.13, 0.07
        Array([  2.,   1., -inf, -inf], dtype=float32)

    Warning:
        Tokens as likely as the least of the k likeliest are all kept, as in Hugging Face's code.
    """
    check_sampling(sampling)
    check_floating(logits, name="logits")
    logits = logits.astype(compute_dtype(logits))
    if sampling.repetition_penalty is not None:
        if seen is None:
            raise ValueError("sampling_logits: the repetition penalty needs `seen`, which tokens occurred")
        penalty = jnp.asarray(sampling.repetition_penalty, logits.dtype)
        logits = jnp.where(seen, jnp.where(logits > 0, logits / penalty, logits * penalty), logits)
    temperature = jnp.asarray(sampling.temperature, logits.dtype)
    logits = logits / jnp.where(temperature > 0, temperature, 1)
    if sampling.top_k is not None:
        least = jax.lax.top_k(logits, min(sampling.top_k, logits.shape[-1]))[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.top_p is not None:
        logits = jnp.where(logits < _least_of_top_p(logits, sampling.top_p), -jnp.inf, logits)
    if sampling.min_p is not None:
        least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(jnp.asarray(sampling.min_p, logits.dtype))
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def draw(logits: Array, sampling: Sampling, key: Key | None, seen: Array | None = None) -> Array:
    """Draw from softmax(sampling_logits(logits)) over the last axis, or take the likeliest if the temperature is 0.

    Both are in one program, so that it is compiled once for all temperatures.

    Args:
        logits: `[..., vocabulary]`.
        sampling: the rules.
        key: random key; None if the temperature is 0, which is then not traced.
        seen: as in `sampling_logits`.

    Returns:
        ids int32 `[...]`.

    Raises:
        ValueError: as in `sampling_logits`, or if the key is missing.

    Example:
        >>> draw(jnp.array([[1.0, 3.0, 2.0]]), Sampling(temperature=0.0), None)
        Array([1], dtype=int32)
    """
    logits = sampling_logits(logits, sampling, seen)
    likeliest = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    if is_greedy(sampling):
        return likeliest
    if key is None:
        raise ValueError("drawing tokens needs a key: pass key=jax.random.key(seed), or Sampling(temperature=0.0)")
    drawn: Array = jax.lax.cond(  # random numbers for a large vocabulary take longer than a small network
        jnp.asarray(sampling.temperature) > 0,
        lambda: jax.random.categorical(key, logits).astype(jnp.int32),
        lambda: likeliest,
    )
    return drawn


def is_greedy(sampling: Sampling) -> bool:
    """Whether it is known before tracing that the likeliest token is taken."""
    return isinstance(sampling.temperature, float | int | np.number) and bool(sampling.temperature == 0)


def traced_rules(sampling: Sampling) -> Sampling:
    """The rules as arguments of a compiled function: float32, and without `top_k`, which has to be static.

    Example:
        >>> traced_rules(Sampling(temperature=2, top_k=3)).temperature.dtype
        dtype('float32')
    """
    values: dict[str, Any] = sampling._replace(top_k=None)._asdict()
    given = {name: v for name, v in values.items() if v is not None and not isinstance(v, jax.Array)}
    traced: dict[str, Any] = {name: np.float32(v) for name, v in given.items()}
    return sampling._replace(top_k=None, **traced)


def check_sampling(sampling: Sampling) -> None:
    """Raise ValueError or TypeError unless the rules that are not traced are in range.

    Example:
        >>> check_sampling(Sampling(top_k=40))
    """
    if not isinstance(sampling, Sampling):
        raise TypeError(f"sampling must be a decode.Sampling, got {sampling!r}; write Sampling(temperature=0.8)")
    ranges = {
        "temperature": (sampling.temperature, 0, math.inf, "a number from 0"),
        "top_p": (sampling.top_p, 0, 1, "a probability, from 0 to 1"),
        "min_p": (sampling.min_p, 0, 1, "a probability, from 0 to 1"),
        "repetition_penalty": (sampling.repetition_penalty, 1e-6, math.inf, "positive, 1 for none"),
    }
    for name, (value, least, largest, words) in ranges.items():
        if value is None or isinstance(value, jax.Array):
            continue
        given = np.asarray(value)
        if not np.issubdtype(given.dtype, np.number):
            raise TypeError(f"{name} must be {words}, got {value!r}")
        if not np.all((least <= given) & (given <= largest) & np.isfinite(given)):
            raise ValueError(f"{name} must be {words}, got {value}")
    if sampling.top_k is not None and not (
        hasattr(sampling.top_k, "__index__") and operator.index(sampling.top_k) >= 1
    ):
        raise ValueError(f"top_k must be an integer of at least 1, got {sampling.top_k!r}")


def _least_of_top_p(logits: Array, top_p: float | Array) -> Array:
    """The least logit `[..., 1]` among the likeliest tokens whose probabilities add up to p."""
    falling = jnp.flip(jnp.sort(logits, axis=-1), axis=-1)
    shares = jax.nn.softmax(falling, axis=-1)
    likelier = jnp.cumsum(shares, axis=-1) - shares
    count = jnp.sum(likelier < jnp.asarray(top_p, logits.dtype), axis=-1, keepdims=True)
    return jnp.take_along_axis(falling, jnp.maximum(count, 1) - 1, axis=-1)
