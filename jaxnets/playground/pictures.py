"""What neurons say over the plane, as pictures of one byte a pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.playground import FEATURES, playground_features
from jaxnets.playground.network import layer_outputs
from jaxnets.playground.settings import PlaygroundSettings
from jaxnets.types import Array, Params

EXTENT = 6.0
"""The plane is shown for x1 and x2 from -6 to 6, as in the Playground."""
PIXELS = 96
"""Of the output's picture along each side."""
SMALL = 3
"""The picture of a neuron has every third of these pixels, the middle one of three."""
NEUTRAL = 127


def grid() -> np.ndarray:
    """The points of the pixels, `[PIXELS, PIXELS, 2]`, row by row from the top."""
    centers = (np.arange(PIXELS) + 0.5) / PIXELS * 2 * EXTENT - EXTENT
    return np.stack(np.meshgrid(centers, -centers), axis=-1)


def to_bytes(values: Array) -> Array:
    """Numbers from -1 to 1 as 0 to 254; what is beyond is cut, and what is no number is as 0.

    Example:
        >>> to_bytes(jnp.array([-3.0, -1.0, 0.0, 1.0, jnp.nan]))
        Array([  0,   0, 127, 254, 127], dtype=uint8)
    """
    levels = jnp.round((jnp.clip(values, -1.0, 1.0) + 1.0) * NEUTRAL)
    return jnp.where(jnp.isnan(values), NEUTRAL, levels).astype(jnp.uint8)


def make_pictures(settings: PlaygroundSettings) -> Callable[[Params], tuple[Array, Array]]:
    """Make `pictures(params) -> (output, neurons)`, to be compiled.

    The output is uint8 `[PIXELS, PIXELS]`, the neurons of all hidden layers in order are
    `[neurons, PIXELS / SMALL, PIXELS / SMALL]`.
    """
    inputs = playground_features(grid(), settings.features).reshape(-1, len(settings.features)).astype(np.float32)

    def pictures(params: Params) -> tuple[Array, Array]:
        *hidden, output = layer_outputs(settings, params, jnp.asarray(inputs))
        square = PIXELS, PIXELS, -1
        small = [to_bytes(layer.reshape(square)[SMALL // 2 :: SMALL, SMALL // 2 :: SMALL]) for layer in hidden]
        side = PIXELS // SMALL
        neurons = jnp.concatenate([*small, jnp.zeros((side, side, 0), jnp.uint8)], axis=-1)
        return to_bytes(output.reshape(PIXELS, PIXELS)), jnp.moveaxis(neurons, -1, 0)

    return pictures


@functools.cache
def feature_pictures() -> dict[str, Any]:
    """The pictures of all features by name, uint8 `[PIXELS / SMALL, PIXELS / SMALL]`."""
    points = grid()[SMALL // 2 :: SMALL, SMALL // 2 :: SMALL]
    return {
        name: np.asarray(jax.device_get(to_bytes(jnp.asarray(playground_features(points, [name])[..., 0]))))
        for name in FEATURES
    }
