"""Rotary position embedding."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array, ArrayLike


@layer
def rotary(
    x: Array,
    positions: Array,
    *,
    base: float = 10000.0,
    features: int | None = None,
    interleaved: bool = False,
    frequencies: ArrayLike | None = None,
) -> Array:
    """Rotate pairs of features by angles that grow with the position: $z_k <- z_k e^(i p base^(-2k/features))$.

    Pair i of a head, as the complex number z_i, is rotated by an angle proportional to the position p, so the product
    of a query at p and a key at q depends only on p - q. Apply it to queries and keys, not to values.

    Args:
        x: `[..., time, heads, head_dim]`, queries or keys.
        positions: `[time]`, or `[..., time]` with the leading axes of `x`; integers or floating point.
        base: the longest wavelength is nearly 2 pi times this; 10,000 in the paper.
        features: the number of features at the start of each head that are rotated, even; None for all.
        interleaved: which features form pair i: False takes i and i + features/2 (Llama as in Hugging Face, GPT-NeoX),
            True takes 2i and 2i + 1 (the paper, GPT-J, Llama's own weights).
        frequencies: `[features / 2]`, the angle of each pair in radians per position, instead of those that `base`
            gives; see `llama3_frequencies`.

    Returns:
        The shape and dtype of `x`. Angles are computed in float32, or in float64 if `x` is.

    Raises:
        ValueError: if `features` is odd or larger than a head, or if the shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> x = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> rotary(x, jnp.array([0.0, jnp.pi / 2])).round(3)[:, 0]
        Array([[ 1.,  0.],
               [-0.,  1.]], dtype=float32)

    Reference:
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.

    Warning:
        Weights trained with one pairing of features give wrong results with the other, without an error.
    """
    check_floating(x)
    positions = jnp.asarray(positions)
    if x.ndim < 3:
        raise ValueError(f"x must be [..., time, heads, head_dim], got {list(x.shape)}")
    if positions.shape not in ((x.shape[-3],), x.shape[:-2]):
        raise ValueError(
            f"positions must be {[x.shape[-3]]} or {list(x.shape[:-2])} for x {list(x.shape)}, "
            f"got {list(positions.shape)}"
        )
    size = x.shape[-1] if features is None else features
    if size % 2 or not 0 < size <= x.shape[-1]:
        raise ValueError(
            f"features must be even, positive and at most {x.shape[-1]} (head_dim of x {list(x.shape)}), got {size}"
        )
    wide = compute_dtype(x)
    frequencies = jnp.asarray(_frequencies(base, size) if frequencies is None else frequencies, wide)
    if frequencies.shape != (size // 2,):
        raise ValueError(f"frequencies must be {[size // 2]}, one a pair of features, got {list(frequencies.shape)}")
    angles = positions.reshape(-1, 1).astype(wide) * frequencies[None]
    angles = angles.reshape((*(1,) * (x.ndim - 2 - positions.ndim), *positions.shape, 1, size // 2))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    rotated = x[..., :size].astype(wide)
    if interleaved:
        real, imaginary = rotated[..., ::2], rotated[..., 1::2]
    else:
        real, imaginary = jnp.split(rotated, 2, axis=-1)
    parts = real * cos - imaginary * sin, imaginary * cos + real * sin
    y = jnp.stack(parts, axis=-1).reshape(rotated.shape) if interleaved else jnp.concatenate(parts, axis=-1)
    return jnp.concatenate([y.astype(x.dtype), x[..., size:]], axis=-1)


def llama3_frequencies(
    features: int, *, base: float, factor: float, low: float = 1.0, high: float = 4.0, context: int = 8192
) -> np.ndarray:
    """Slow down the long waves of rotary positions, so that a network copes with a longer context, as Llama 3.1 does.

    A wave that fits less than `low` times into the old context is slowed down by `factor`, one that fits more than
    `high` times stays as it is, and between them $f_k <- ((1 - s) / factor + s) f_k$ with
    $s = (n_k - low) / (high - low)$ for one that fits $n_k = context f_k / (2 pi)$ times.

    Args:
        features: the number of features of a head that are rotated, even.
        base: as in `rotary`.
        factor: by how much the long waves are slowed down.
        low: see above.
        high: see above, more than `low`.
        context: positions that the network was trained on first.

    Returns:
        `[features / 2]`, float64, radians per position, for `rotary(x, positions, frequencies=...)`.

    Raises:
        ValueError: if `features` is odd, `factor` is not positive, or `high` is not more than `low`.

    Example:
        >>> llama3_frequencies(4, base=500_000.0, factor=8.0, context=8192).round(6).tolist()  # 1,304 and 1.8 times
        [1.0, 0.000525]

    Reference:
        Grattafiori et al., The Llama 3 Herd of Models, 2024; the rule is that of Meta's program.
    """
    if features % 2 or features < 2:
        raise ValueError(f"features must be even and positive, got {features}")
    if factor <= 0 or high <= low:
        raise ValueError(f"factor must be positive and high more than low, got {factor}, low {low} and high {high}")
    frequencies = _frequencies(base, features)
    if factor == 1:
        return frequencies
    share = np.clip((context * frequencies / (2 * np.pi) - low) / (high - low), 0.0, 1.0)
    scaled: np.ndarray = frequencies * ((1 - share) / factor + share)
    return scaled


def _frequencies(base: float, features: int) -> np.ndarray:
    frequencies: np.ndarray = base ** (-np.arange(0, features, 2) / features)
    return frequencies
