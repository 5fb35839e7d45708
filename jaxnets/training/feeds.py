"""Where the batches of `fit` come from: arrays that lie on the device, or a source that is read ahead."""

from __future__ import annotations

import functools
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from jaxnets import metrics as metric
from jaxnets.checksum import data_checksum
from jaxnets.data.source import Source
from jaxnets.sharding import Placement
from jaxnets.training.batches import data_size, epoch_order, steps_per_epoch
from jaxnets.training.compiled import TrainFunction, scan_data, scan_steps
from jaxnets.training.placed import data_on_mesh
from jaxnets.training.programs import Program
from jaxnets.training.state import Step, TrainState
from jaxnets.types import PyTree

_AT_ONCE = 64 << 20
"""Bytes that are read for one dispatch, or for one part of an evaluation, and read ahead for the next."""


class Feed(Protocol):
    """The batches of one run.

    Attributes:
        examples: how many there are.
        waited: seconds that were spent waiting for batches.
    """

    examples: int
    waited: float

    def checksum(self) -> int:
        """Return what has to be the same when a run goes on."""

    def most_steps(self, steps: int, batch_size: int) -> int:
        """Return how many steps a dispatch may take, of those asked for."""

    def scan(self, step: Step, *, steps: int, batch_size: int, shuffle: bool) -> TrainFunction:
        """Make the program of a dispatch, which takes what `at` returns."""

    def place(self, train_state: TrainState, placement: Placement | None, total: int) -> None:
        """Learn where training runs, and with which step it ends."""

    def shapes(self) -> Any:
        """Return what `at` returns, or its shapes."""

    def begin(self, first: int) -> None:
        """Read what the steps from step `first` on need, while their program is compiled."""

    def at(self, first: int, count: int) -> Any:
        """Return what `count` steps from step `first` on need."""

    def close(self) -> None:
        """Read nothing any more."""


def feed_of(data: Any) -> Feed:
    """Return the feed of arrays or of a source.

    Example:
        >>> feed_of(np.zeros((10, 3))).examples
        10
    """
    return SourceFeed(data) if isinstance(data, Source) else ArrayFeed(data)


class ArrayFeed:
    """All examples lie on the device, and a dispatch takes its batches out of them; see `Feed`."""

    def __init__(self, data: Any):
        self._data = data
        self.examples, self.waited = data_size(data), 0.0

    def checksum(self) -> int:
        """Of all bytes."""
        return data_checksum(self._data)

    def most_steps(self, steps: int, batch_size: int) -> int:
        """All of them."""
        return steps

    def scan(self, step: Step, *, steps: int, batch_size: int, shuffle: bool) -> TrainFunction:
        """See `scan_data`."""
        return scan_data(step, steps=steps, batch_size=batch_size, shuffle=shuffle)

    def place(self, train_state: TrainState, placement: Placement | None, total: int) -> None:
        """Put the data where the train state lies."""
        self._data = data_on_mesh("data", self._data, train_state)

    def shapes(self) -> Any:
        """The data."""
        return self._data

    def begin(self, first: int) -> None:
        """Nothing is read."""

    def at(self, first: int, count: int) -> Any:
        """The data."""
        return self._data

    def close(self) -> None:
        """Nothing is read."""


class SourceFeed:
    """A thread reads the batches of the next dispatch while the device computes; see `Feed`."""

    def __init__(self, source: Source):
        self._source, self._example = source, source.take([0])
        self.examples, self.waited = len(source), 0.0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="jaxnets-feed")
        self._ahead: tuple[tuple[int, int], Future[Any]] | None = None

    def checksum(self) -> int:
        """See `Source.checksum`."""
        return self._source.checksum()

    def most_steps(self, steps: int, batch_size: int) -> int:
        """As many as fit into a fixed number of bytes, at least one."""
        return max(1, min(steps, _AT_ONCE // max(1, _bytes(self._example) * batch_size)))

    def scan(self, step: Step, *, steps: int, batch_size: int, shuffle: bool) -> TrainFunction:
        """See `scan_steps`."""
        self._steps, self._batch_size, self._shuffle = steps, batch_size, shuffle
        return scan_steps(step)

    def place(self, train_state: TrainState, placement: Placement | None, total: int) -> None:
        """Batches are divided over the devices as the placement says."""
        self._total = total
        self._seed = int(train_state.seed)
        self._sharding = _sharding(train_state, placement, self._batch_size)

    def shapes(self) -> Any:
        """Stacks of batches."""
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                (self._steps, self._batch_size, *leaf.shape[1:]),
                jax.dtypes.canonicalize_dtype(leaf.dtype),
                sharding=self._sharding,
            ),
            self._example,
        )

    def begin(self, first: int) -> None:
        """Begin to read a dispatch."""
        if first < self._total:
            following = first, min(self._steps, self._left_of_epoch(first))
            self._ahead = following, self._reader.submit(self._read, *following)

    def at(self, first: int, count: int) -> Any:
        """Batches `[steps, batch, ...]`, of which those after `count` mean nothing; the next ones are begun to read."""
        started = time.perf_counter()
        ahead, self._ahead = self._ahead, None
        stack = ahead[1].result() if ahead and ahead[0] == (first, count) else self._read(first, count)
        self.waited += time.perf_counter() - started
        self.begin(first + count)
        return stack

    def close(self) -> None:
        """Read nothing any more; an error in what was read ahead concerns nobody."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _left_of_epoch(self, step: int) -> int:
        per_epoch = steps_per_epoch(self.examples, self._batch_size)
        return per_epoch - step % per_epoch

    def _read(self, first: int, count: int) -> Any:
        rows = np.stack([self._rows(first + min(i, count - 1)) for i in range(self._steps)])
        return _on_devices(self._source, rows, self._example, self._sharding)

    def _rows(self, step: int) -> np.ndarray:
        per_epoch = steps_per_epoch(self.examples, self._batch_size)
        start = step % per_epoch * self._batch_size
        order = _order(self._seed, step // per_epoch, self.examples, self._shuffle)
        return order[start : start + self._batch_size]


class SourceEvaluation:
    """An evaluation of a source in parts that fit into memory, with the methods of `Program`."""

    def __init__(self, evaluate: Any):
        self._evaluate, self._at_once = evaluate, getattr(evaluate, "at_once", None)
        self._programs: dict[int, Program] = {}

    @property
    def compile_seconds(self) -> float:
        """The time that tracing and compiling took; there are two programs if the last part is smaller."""
        return sum(program.compile_seconds for program in self._programs.values())

    def result_shapes(self, train_state: TrainState, source: Source, constants: PyTree) -> PyTree:
        """Return the shapes and dtypes of the result."""
        rows = self._parts(source)[0]
        data = self._take(source, rows, train_state)
        return self._program(len(rows)).result_shapes(train_state, data, constants, **self._first(rows))

    def __call__(self, train_state: TrainState, source: Source, constants: PyTree) -> PyTree:
        """Add up the metrics of all parts."""
        measured = [
            self._program(len(rows))(train_state, self._take(source, rows, train_state), constants, **self._first(rows))
            for rows in self._parts(source)
        ]
        return functools.reduce(metric.merge, measured)

    def _program(self, count: int) -> Program:
        return self._programs.setdefault(count, Program(self._evaluate))

    def _parts(self, source: Source) -> list[np.ndarray]:
        size = max(1, _AT_ONCE // max(1, _bytes(source.take([0]))))
        size -= size % min(size, self._at_once or 1)  # whole batches, as those of arrays
        return [np.arange(first, min(first + size, len(source))) for first in range(0, len(source), size)]

    def _first(self, rows: np.ndarray) -> dict[str, Any]:
        """How many examples came before, or each part would have the random numbers of the first one."""
        return {} if self._at_once is None else {"first": np.int32(rows[0])}

    def _take(self, source: Source, rows: np.ndarray, train_state: TrainState) -> Any:
        return data_on_mesh("validation data", source.take(rows), train_state)


def _bytes(example: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(example))


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, examples: int, shuffle: bool) -> np.ndarray:
    key = TrainState.create({}, (), seed=seed).key
    return np.asarray(epoch_order(key, epoch, examples, shuffle=shuffle))


def _sharding(train_state: TrainState, placement: Placement | None, batch_size: int) -> Any:
    """Where batches `[steps, batch, ...]` lie."""
    if placement is not None and batch_size % placement.batch_parts == 0:
        return NamedSharding(placement.mesh, PartitionSpec(None, placement.batch_axes or None))
    sharding = getattr(train_state.step, "sharding", None)
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, PartitionSpec())
    return SingleDeviceSharding(jax.local_devices()[0]) if sharding is None else sharding


def _on_devices(source: Source, rows: np.ndarray, example: PyTree, sharding: Any) -> Any:
    """Read the rows `[steps, batch]` that the devices of this process need, each once, and join them."""
    read: dict[tuple[int, int], list[np.ndarray]] = {}

    def part(index: tuple[slice, ...], number: int) -> np.ndarray:
        start, stop, _ = index[1].indices(rows.shape[1])
        if (start, stop) not in read:
            leaves = jax.tree.leaves(source.take(rows[:, start:stop].reshape(-1)))
            read[start, stop] = [leaf.reshape(len(rows), stop - start, *leaf.shape[1:]) for leaf in leaves]
        return read[start, stop][number]

    arrays = [
        jax.make_array_from_callback((*rows.shape, *leaf.shape[1:]), sharding, functools.partial(part, number=number))
        for number, leaf in enumerate(jax.tree.leaves(example))
    ]
    return jax.tree.unflatten(jax.tree.structure(example), arrays)
