"""Examples that are read when they are needed, for data larger than memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import jax
import numpy as np

from jaxnets.integers import as_integer
from jaxnets.types import PyTree

_SAMPLED = 16
"""Examples that the checksum reads, spread over the data set."""


class Dataset(Protocol):
    """Examples by number: a list, a `grain.MapDataset`, a PyTorch `Dataset`, or what `read_shards` returns.

    `__getitem__(i)` returns a tree of numbers and arrays that have the same shapes for all i. If there is a method
    `read_batch(numbers)`, it is called instead, with an array `[count]`, and returns a tree of arrays `[count, ...]`;
    else if there is `__getitems__(numbers)`, that, with a list, which returns the examples in its order.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Source:
    """A data set for `fit` whose examples are read, in other threads, while the device computes.

    `fit(train_state, step, Source(dataset), ...)` trains on the same batches, to the bit, as with all examples in an
    array: which examples step n sees follows from the seed and n alone, whoever reads them. So nothing of a source is
    saved in a checkpoint, and a run goes on in the middle of an epoch, also with another number of processes, each of
    which reads the rows that its devices need.

    Threads decode side by side as far as Python lets them: reading files, Pillow, NumPy and zlib do. For decoding in
    Python itself, prepare the examples before (`python -m jaxnets prepare`).

    Args:
        dataset: examples by number; see `Dataset`.
        threads: how many examples, or runs of examples, are read side by side.
        name: what errors call it.

    Raises:
        TypeError: if it has no length or no examples by number, such as an iterator.
        ValueError: if it is empty, or `threads` is not positive.

    Example:
        >>> squares = Source([{"x": np.float32(i), "y": np.float32(i * i)} for i in range(10)])
        >>> len(squares), squares.take([3, 1])["y"]
        (10, array([9., 1.], dtype=float32))

    Warning:
        `dataset[i]` must be a function of i. Augment on the device (`jaxnets.data.augment`), with keys of the step.
    """

    def __init__(self, dataset: Dataset, *, threads: int = 4, name: str = "source"):
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"Source: expected examples by number, len(dataset) and dataset[i], got a {type(dataset).__name__}; "
                "an iterator cannot be read from the middle: write the examples into shards (python -m jaxnets prepare)"
            )
        if len(dataset) == 0:
            raise ValueError(f"Source: {name} is empty")
        threads = as_integer("Source", "threads", threads, at_least=1)
        self.dataset, self.threads, self.name = dataset, threads, name
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="jaxnets-source")

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.dataset)

    def take(self, rows: Sequence[int] | np.ndarray) -> PyTree:
        """Read examples.

        Args:
            rows: their numbers, `[count]`.

        Returns:
            A tree of NumPy arrays `[count, ...]`.

        Raises:
            ValueError: if an example has other arrays than the first one that was read.
        """
        rows = np.asarray(rows)
        parts = [part for part in np.array_split(rows, min(self.threads, len(rows))) if len(part)]
        if (read_batch := getattr(self.dataset, "read_batch", None)) is not None:
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *self._pool.map(read_batch, parts))
        examples = [example for read in self._pool.map(self._read, parts) for example in read]
        return _stack(self.name, examples, rows)

    def checksum(self) -> int:
        """Return a checksum of the number of examples and of some of them, by which `fit` knows a data set again."""
        if hasattr(self.dataset, "checksum"):
            return int(self.dataset.checksum())
        rows = np.unique(np.linspace(0, len(self) - 1, _SAMPLED).astype(int))
        value = zlib.crc32(str(len(self)).encode())
        for leaf in jax.tree.leaves(self.take(rows)):
            value = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), value)
        return value

    def _read(self, rows: np.ndarray) -> list[Any]:
        together = getattr(self.dataset, "__getitems__", None)
        numbers = [int(row) for row in rows]
        return list(together(numbers)) if together else [self.dataset[number] for number in numbers]


def _stack(name: str, examples: list[Any], rows: np.ndarray) -> PyTree:
    """Put examples together, or say which one is not like the first."""
    structure: Any = jax.tree.structure(examples[0])
    shapes = _shapes(examples[0])
    for example, row in zip(examples, rows, strict=True):
        if jax.tree.structure(example) != structure or _shapes(example) != shapes:
            raise ValueError(
                f"{name}: examples must have the same arrays; example {row} has {_shapes(example)}, "
                f"example {rows[0]} has {shapes}; crop, pad or resize them"
            )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *examples)


def _shapes(example: Any) -> list[str]:
    return [f"{np.asarray(leaf).dtype}{list(np.shape(leaf))}" for leaf in jax.tree.leaves(example)]
