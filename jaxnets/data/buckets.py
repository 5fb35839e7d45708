"""Sequences of different lengths in batches of a few fixed shapes, so that a few programs are compiled."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jaxnets.integers import as_integer, as_seed

Batch: TypeAlias = dict[str, np.ndarray]
"""Arrays by name: of sequences `[batch, length]`, their `..._lengths` `[batch]`, others, and `weights` `[batch]`."""


def pad_sequences(
    sequences: Sequence[np.ndarray], length: int, pad: int = 0, *, truncate: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Put sequences of different lengths into one array.

    Args:
        sequences: integers `[length_i]` each, such as those of `encode_all`.
        length: of all rows of the array.
        pad: the number that fills what is left at the end of a row.
        truncate: whether to cut longer sequences at their end.

    Returns:
        The padded sequences, int32 `[sequences, length]`, and their lengths without padding, int32 `[sequences]`.

    Raises:
        ValueError: if a sequence is longer than `length`, with its number, unless `truncate`; is not `[length_i]`; or
            holds a number that does not fit 32 bits.
        TypeError: if a sequence does not hold integers.

    Example:
        >>> pad_sequences([np.array([5, 6, 7]), np.array([8])], 3)
        (array([[5, 6, 7],
               [8, 0, 0]], dtype=int32), array([3, 1], dtype=int32))
    """
    arrays, lengths = _checked("pad_sequences", sequences)
    length = as_integer("pad_sequences", "length", length, at_least=1)
    if not truncate:
        _check_longest("pad_sequences", lengths, length)
    lengths = np.minimum(lengths, length)
    padded = np.full((len(arrays), length), pad, np.int32)
    for row, array, count in zip(padded, arrays, lengths, strict=True):
        row[:count] = array[:count]
    return padded, lengths


class Buckets(NamedTuple):
    """Batches of a few shapes; see `make_buckets`.

    The batches are the same in every epoch, in another order: `batch(seed, n)` is that of step n, whatever was asked
    for before. So a run that is resumed goes on as it would have.

    Attributes:
        groups: for each shape the batches, stacked: a dict of arrays `[batches, batch, ...]`.
        places: int32 `[all batches, 2]`, of each batch its group and its number there.
    """

    groups: tuple[Batch, ...]
    places: np.ndarray

    @property
    def steps_per_epoch(self) -> int:
        """How many batches there are in all."""
        return len(self.places)

    def batch(self, seed: int, step: int) -> Batch:
        """Return the batch of a step: every batch once an epoch, in an order drawn from the seed and the epoch."""
        seed = int(as_seed("batch", seed))
        epoch, position = divmod(as_integer("batch", "step", step, at_least=0), len(self.places))
        return self._at(_order(seed, epoch, len(self.places))[position])

    def in_order(self) -> Iterator[Batch]:
        """Give every batch once, the shortest first, to evaluate."""
        return map(self._at, range(len(self.places)))

    def _at(self, number: int) -> Batch:
        group, index = self.places[number]
        return {name: array[index] for name, array in self.groups[group].items()}


@functools.lru_cache(maxsize=8)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def make_buckets(
    sequences: Mapping[str, Sequence[np.ndarray]],
    arrays: Mapping[str, np.ndarray] | None = None,
    *,
    lengths: Sequence[int],
    batch_size: int | Sequence[int],
    seed: int = 0,
    pad: int = 0,
    truncate: bool = False,
) -> Buckets:
    """Group sequences by length into batches of at most `len(lengths)` shapes.

    An example goes to the first of the lengths that it fits in, and is padded to it. The examples of a length are put
    into batches at random; those that do not fill a batch go to the next length. The last batch of all is filled up
    with examples of weight 0, so every example counts once an epoch: a loss and its metrics must take the `weights`,
    as those of `jaxnets.training.supervised` do.

    Args:
        sequences: by name, such as `{"source": [...], "target": [...]}`, one list of integer arrays `[length_i]` each.
            All sequences of an example are padded to the same length, which must hold the longest of them.
        arrays: by name, what else belongs to an example, `[examples, ...]`, such as labels.
        lengths: to which sequences are padded, increasing; the last one is the longest that is allowed.
        batch_size: examples of a batch, or one number for each length, to give long ones fewer:
            `[4096 // length for length in lengths]`.
        seed: of the division into batches.
        pad: the number that fills the sequences.
        truncate: whether to cut longer sequences at their end.

    Returns:
        Batches of the sequences as int32 `[batch, length]` by name, their lengths without padding as int32
        `name_lengths` `[batch]` (see `jaxnets.nn.sequence_mask`), the arrays, and `weights`, float32 `[batch]`: 1, or 0
        for what only fills a batch.

    Raises:
        ValueError: if a sequence is longer than the last length, with its name and number, unless `truncate`; if there
            is no example, numbers of examples differ, or lengths do not increase.
        TypeError: if a sequence does not hold integers.

    Example:
        >>> texts = [np.arange(count) for count in (3, 7, 2, 4, 5, 8)]
        >>> buckets = make_buckets({"text": texts}, {"label": np.arange(6)}, lengths=[4, 8], batch_size=2)
        >>> buckets.steps_per_epoch, [batch["text"].shape for batch in buckets.in_order()]
        (3, [(2, 4), (2, 8), (2, 8)])
        >>> first = next(buckets.in_order())
        >>> first["text"], first["text_lengths"], first["label"], first["weights"]
        (array([[0, 1, 2, 3],
               [0, 1, 0, 0]], dtype=int32), array([4, 2], dtype=int32), array([3, 2]), array([1., 1.], dtype=float32))

        A loop compiles one program a shape::

            step = compile_step(make_step(loss, optimizer))
            for n in range(int(train_state.step), epochs * buckets.steps_per_epoch):
                train_state, measured = step(train_state, buckets.batch(seed, n))

        `jaxnets.training.bucket_step` is for `fit`, which draws the batches on the device.

    Warning:
        `tf.data`'s and PyTorch's usual batches by length are put together anew in every epoch; these are not, only
        their order is.
    """
    function = "make_buckets"
    checked = {name: _checked(f"{function}: {name}", many) for name, many in sequences.items()}
    others = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    _check_arguments(checked, others, lengths)
    sizes = [batch_size] * len(lengths) if isinstance(batch_size, int | np.integer) else list(batch_size)
    if len(sizes) != len(lengths):
        raise ValueError(f"{function}: expected one batch_size or {len(lengths)}, one a length, got {batch_size}")
    sizes = [as_integer(function, "batch_size", size, at_least=1) for size in sizes]
    for name, (_, counts) in checked.items():
        if not truncate:
            _check_longest(f"{function}: {name}", counts, int(lengths[-1]))

    longest = np.minimum(np.max([counts for _, counts in checked.values()], axis=0), lengths[-1])
    bucket = np.searchsorted(np.asarray(lengths), longest)
    order = np.random.default_rng(as_seed(function, seed)).permutation(len(longest))
    groups: list[Batch] = []
    rows = order[:0]
    for number, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        rows = np.concatenate([rows, order[bucket[order] == number]])
        is_last = number >= bucket.max()
        taken = len(rows) if is_last else len(rows) // size * size
        if taken:
            groups.append(_group(checked, others, rows[:taken], int(length), size, pad))
        rows = rows[taken:]  # what does not fill a batch goes to the next length
    places = [(group, index) for group, arrays in enumerate(groups) for index in range(len(arrays["weights"]))]
    return Buckets(tuple(groups), np.array(places, np.int32))


def _group(checked: Any, others: Batch, rows: np.ndarray, length: int, size: int, pad: int) -> Batch:
    """The batches of one length: `[batches, size, ...]`."""
    missing = -len(rows) % size
    filled = np.concatenate([rows, np.resize(rows, missing)])
    arrays: Batch = {}
    for name, (sequences, _) in checked.items():
        chosen = [sequences[row] for row in filled]
        arrays[name], arrays[f"{name}_lengths"] = pad_sequences(chosen, length, pad, truncate=True)
    arrays |= {name: array[filled] for name, array in others.items()}
    arrays["weights"] = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    return {name: array.reshape(-1, size, *array.shape[1:]) for name, array in arrays.items()}


def _checked(function: str, sequences: Sequence[Any]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the sequences and their lengths."""
    arrays = [np.asarray(sequence) for sequence in sequences]
    for number, array in enumerate(arrays):
        if array.ndim != 1:
            raise ValueError(f"{function}: sequence {number} must be [length], got {list(array.shape)}")
        if array.size and not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"{function}: sequence {number} must hold integers, got {array.dtype}; write encode(text)")
        if array.size and not np.can_cast(array.dtype, np.int32):
            least, largest = int(array.min()), int(array.max())
            if least < -(2**31) or largest >= 2**31:
                raise ValueError(f"{function}: sequence {number} holds {least} to {largest}, more than 32 bits can")
    return arrays, np.array([len(array) for array in arrays], np.int32)


def _check_longest(function: str, lengths: np.ndarray, longest: int) -> None:
    too_long = np.flatnonzero(lengths > longest)
    if len(too_long):
        first = too_long[0]
        raise ValueError(
            f"{function}: sequence {first} has {lengths[first]} tokens where at most {longest} fit"
            f"{f', and so {len(too_long) - 1} more' if len(too_long) > 1 else ''} (the longest has {lengths.max()}); "
            "take a larger length, leave them out, or write truncate=True to cut them at their end"
        )


def _check_arguments(checked: Mapping[str, Any], others: Batch, lengths: Sequence[int]) -> None:
    counts = {name: len(arrays) for name, (arrays, _) in checked.items()}
    counts |= {name: len(array) if array.ndim else 0 for name, array in others.items()}
    if not checked or set(counts.values()) == {0} or len(set(counts.values())) != 1:
        raise ValueError(f"make_buckets: expected as many examples of every name, one at least, got {counts}")
    made = {"weights", *(f"{name}_lengths" for name in checked)}
    taken = [name for name in others if name in made or name in checked] + [name for name in checked if name in made]
    if taken:
        raise ValueError(f"make_buckets: {taken[0]!r} is the name of an array of the batches already; choose another")
    whole = [as_integer("make_buckets", "lengths", length, at_least=1) for length in lengths]
    if not whole or any(a >= b for a, b in itertools.pairwise(whole)):
        raise ValueError(f"make_buckets: lengths must increase, such as [16, 32, 64], got {lengths!r}")
