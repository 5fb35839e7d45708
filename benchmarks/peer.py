"""The interface of each peer's program to the benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Peer(NamedTuple):
    """A prepared program.

    Attributes:
        run: `run(steps)` trains that many steps and, when they are finished, returns the loss of the last one; Keras
            the mean of an epoch.
        steps: the number of timed steps per round; None for that of the case.
        results: the values that the check compares, if not the losses of two steps.
    """

    run: Callable[[int], float]
    steps: int | None = None
    results: Callable[[], list[float]] | None = None


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """The initial weights of every peer: normal with variance 1 / fan-in; biases are not zero."""
    generator = np.random.default_rng(seed)
    return {
        name: (generator.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def scales_near_one(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with scales of norms near 1, as deep networks need them to keep their loss small."""
    return {path: 1 + 0.1 * array if path.endswith("/scale") else array for path, array in weights.items()}


def numbered_paths(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with `blocks_0/...` in place of `blocks/0/...`, as modules of Flax are named."""
    return {re.sub(r"/(\d+)(?=/)", r"_\1", path): array for path, array in weights.items()}


def cycle(batches: Any) -> Callable[[], Any]:
    """A function that returns the next batch, forever."""
    position = -1

    def advance() -> Any:
        nonlocal position
        position = (position + 1) % len(batches)
        return batches[position]

    return advance


def split_batches(size: int, *arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The examples in order, in batches of `size`."""
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, len(arrays[0]), size)]


def outputs_first(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The layout of PyTorch and Equinox: `[out, in, *kernel_size]`, `[out, in]`."""
    return {name: np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array for name, array in weights.items()}
