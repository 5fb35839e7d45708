"""The data sets of the TensorFlow Playground: points of the plane, generated from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from jaxnets.data.data_set import DataSet, Split

Name = Literal["circle", "xor", "gauss", "spiral", "plane", "multi-gauss"]
RADIUS = 5.0
REGRESSION_RADIUS = 6.0
XOR_PADDING = 0.3
BUMPS = np.array([[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1], [4, -2.5, -1]])
"""Center and sign of each bump of `multi-gauss`."""

FEATURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "x1": lambda x1, x2: x1,
    "x2": lambda x1, x2: x2,
    "x1^2": lambda x1, x2: x1**2,
    "x2^2": lambda x1, x2: x2**2,
    "x1*x2": lambda x1, x2: x1 * x2,
    "sin(x1)": lambda x1, x2: np.sin(x1),
    "sin(x2)": lambda x1, x2: np.sin(x2),
}
"""The seven input features by name."""


def playground(
    name: Name,
    seed: int = 0,
    *,
    noise: float = 0.0,
    features: Sequence[str] = ("x1", "x2"),
    train: float = 0.5,
    validation: float = 0.0,
    examples: int | None = None,
) -> DataSet:
    """Generate a data set of the TensorFlow Playground.

    Classification, labels -1 and 1: `circle` (a disc in a ring), `xor` (opposite quadrants), `gauss` (two clouds),
    `spiral` (two arms). Regression: `plane` (x1 + x2) / 10 and `multi-gauss` (six bumps of height 1 or -1).

    As there, the noise of `spiral` moves the points and that of `gauss` widens the clouds. In the other data sets a
    point is moved only to compute its label, so that points near the border get the wrong one.

    Args:
        name: of the data set.
        seed: of points, noise and splits.
        noise: from 0 to 0.5, which the Playground shows as 0 to 50.
        features: the inputs, some of `x1`, `x2`, `x1^2`, `x2^2`, `x1*x2`, `sin(x1)`, `sin(x2)`.
        train: share of the examples to train on.
        validation: share for validation; the Playground has none. The rest is the test split.
        examples: their number, even; the Playground has 500 for classification and 1,200 for regression.

    Returns:
        Inputs float32 `[examples, features]`, and labels or targets float32 `[examples]`; the Playground's loss is
        (output - label)^2 / 2. For class indices write `(labels > 0).astype(np.int32)`.

    Raises:
        ValueError: if a name is unknown or a number is out of range.

    Example:
        >>> data = playground("circle", features=["x1^2", "x2^2"])
        >>> data.train[0].shape, data.test[0].shape, data.classes
        ((250, 2), (250, 2), ('-1', '1'))

    Reference:
        Smilkov, Carter, Sculley, Viegas and Wattenberg, Direct-manipulation visualization of deep networks, 2016.
    """
    if name not in SETS:
        raise ValueError(f"playground: no data set is named {name!r}; the names are {', '.join(SETS)}")
    if not 0 <= noise <= 0.5:
        raise ValueError(f"playground: noise must be from 0 to 0.5, got {noise}")
    if not (0 < train < 1 and 0 <= validation < 1 and train + validation < 1):
        raise ValueError(f"playground: shares must leave some examples to each split, got {train=}, {validation=}")
    regression = name in REGRESSION
    count = examples if examples is not None else 1200 if regression else 500
    ends = round(count * train), round(count * (train + validation))
    if count < 2 or count % 2 or ends[0] < 1:
        raise ValueError(f"playground: examples must be an even number with {train=} of them at least 1, got {count}")
    rng = np.random.default_rng(seed)
    points, labels = SETS[name](rng, count, noise)
    order = rng.permutation(count)
    inputs = playground_features(points[order], features).astype(np.float32)
    targets = labels[order].astype(np.float32)
    training, held_out, testing = zip(np.split(inputs, ends), np.split(targets, ends), strict=True)
    return DataSet(training, held_out, testing, () if regression else ("-1", "1"))


def playground_features(points: np.ndarray, features: Sequence[str] = tuple(FEATURES)) -> np.ndarray:
    """Compute the Playground's input features of points, for example of a grid on which to draw a network's output.

    Args:
        points: `[..., 2]`, x1 and x2.
        features: their names; by default all seven.

    Returns:
        `[..., features]`.

    Raises:
        ValueError: if a name is unknown, there are no names, or the points do not have two coordinates.

    Example:
        >>> playground_features(np.array([[2.0, 3.0]])).round(2)
        array([[2.  , 3.  , 4.  , 9.  , 6.  , 0.91, 0.14]])
    """
    unknown = [feature for feature in features if feature not in FEATURES]
    if unknown or not features:
        raise ValueError(f"playground: features are some of {', '.join(FEATURES)}, got {list(features)}")
    if points.ndim < 1 or points.shape[-1] != 2:
        raise ValueError(f"playground: points are [..., 2], got {list(points.shape)}")
    return np.stack([FEATURES[feature](points[..., 0], points[..., 1]) for feature in features], axis=-1)


def _moved(rng: np.random.Generator, points: np.ndarray, radius: float, noise: float) -> np.ndarray:
    """The positions that determine the labels of the points."""
    moved: np.ndarray = points + rng.uniform(-radius, radius, points.shape) * noise
    return moved


def _on_circle(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)


def _circle(rng: np.random.Generator, count: int, noise: float) -> Split:
    """Half of the points within half of the radius, the others between 0.7 and 1 times the radius."""
    half = count // 2
    inside, outside = rng.uniform(0, 0.5 * RADIUS, half), rng.uniform(0.7 * RADIUS, RADIUS, half)
    points = _on_circle(np.concatenate([inside, outside]), rng.uniform(0, 2 * np.pi, count))
    distance = np.linalg.norm(_moved(rng, points, RADIUS, noise), axis=1)
    return points, np.where(distance < 0.5 * RADIUS, 1.0, -1.0)


def _xor(rng: np.random.Generator, count: int, noise: float) -> Split:
    """Points of a square, pushed off the axes; 1 where both coordinates have the same sign."""
    points = rng.uniform(-RADIUS, RADIUS, (count, 2))
    points += np.where(points > 0, XOR_PADDING, -XOR_PADDING)
    return points, np.where(_moved(rng, points, RADIUS, noise).prod(axis=1) >= 0, 1.0, -1.0)


def _gauss(rng: np.random.Generator, count: int, noise: float) -> Split:
    """Normal clouds around (2, 2) and (-2, -2), of variance 0.5 without noise and 4 with the largest noise."""
    labels = np.repeat([1.0, -1.0], count // 2)
    return rng.normal(2 * labels[:, None], math.sqrt(0.5 + 7 * noise), (count, 2)), labels


def _spiral(rng: np.random.Generator, count: int, noise: float) -> Split:
    """Two arms of 1.75 turns, the second rotated by half a turn."""
    progress = np.tile(np.arange(count // 2) / (count // 2), 2)
    labels = np.repeat([1.0, -1.0], count // 2)
    angle = 1.75 * 2 * np.pi * progress + np.where(labels > 0, 0.0, np.pi)
    return _moved(rng, _on_circle(RADIUS * progress, angle), 1.0, noise), labels


def _plane(rng: np.random.Generator, count: int, noise: float) -> Split:
    points = rng.uniform(-REGRESSION_RADIUS, REGRESSION_RADIUS, (count, 2))
    return points, _moved(rng, points, REGRESSION_RADIUS, noise).sum(axis=1) / 10


def _multi_gauss(rng: np.random.Generator, count: int, noise: float) -> Split:
    """Cones of height 1 and radius 2; where two overlap, the higher one counts, the first of equal ones."""
    points = rng.uniform(-REGRESSION_RADIUS, REGRESSION_RADIUS, (count, 2))
    places = _moved(rng, points, REGRESSION_RADIUS, noise)
    distance = np.linalg.norm(places[:, None] - BUMPS[None, :, :2], axis=2)
    height = np.clip(1 - distance / 2, 0, 1)
    nearest = height.argmax(axis=1)
    return points, height[np.arange(count), nearest] * BUMPS[nearest, 2]


SETS: dict[str, Callable[[np.random.Generator, int, float], Split]] = {
    "circle": _circle,
    "xor": _xor,
    "gauss": _gauss,
    "spiral": _spiral,
    "plane": _plane,
    "multi-gauss": _multi_gauss,
}
REGRESSION = ("plane", "multi-gauss")
