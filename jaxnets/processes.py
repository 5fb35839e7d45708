"""Several processes that train one network: they agree on what to do, and the first one reports.

A program is written once, for any number of processes; the launch says how many there are. With one process nothing
here costs anything, and no device is touched.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from jaxnets.checksum import data_checksum
from jaxnets.types import PyTree

_Result = TypeVar("_Result")

GRACE_SECONDS = 5.0
"""How long a process that fails waits for the others, so that they learn of it."""

ASK_SECONDS = 0.02
"""How often processes that wait for something ask one another whether they are done."""


class OtherProcessError(RuntimeError):
    """Something failed in another process, whose own output says why."""


def process_count() -> int:
    """Return how many processes there are, without touching a device if this is the only one.

    Example:
        >>> process_count()
        1
    """
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Say whether this is process 0, the one that reports: that prints, and writes files which all would write.

    Example:
        >>> is_first()
        True
    """
    return process_count() == 1 or jax.process_index() == 0


def gather(numbers: Any) -> np.ndarray[Any, Any]:
    """Return the numbers of all processes, which all have to call it: `[processes, ...]`.

    Example:
        >>> gather(np.array([3, 4]))
        array([[3, 4]])
    """
    if process_count() == 1:
        return np.asarray(numbers)[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(numbers)))


def agree(*numbers: int) -> tuple[int, ...]:
    """Return the largest of each of these numbers in all processes, which all have to call it; 1 for yes and 0 for no.

    Args:
        numbers: integers of 32 bits.

    Example:
        >>> agree(0, 15)
        (0, 15)
    """
    if process_count() == 1:
        return numbers
    return tuple(gather(np.array(numbers, np.int32)).max(axis=0).tolist())


def from_first(function: Callable[[], _Result]) -> _Result:
    """Call a function in process 0 alone, and return its result, or raise its error, in all processes.

    All have to call it, and it begins when all have come so far. So no process can find a file half written by another
    one, such as a data set that is downloaded.

    Args:
        function: its result has to be something that `pickle` can store.

    Example:
        >>> from_first(lambda: "runs/1")
        'runs/1'
    """
    if process_count() == 1:
        return function()
    from jax.experimental import multihost_utils

    agree(0)
    message = _message(function) if is_first() else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
    sent = np.frombuffer(message.ljust(length), np.uint8)[:length]
    result, error = pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8).tobytes())
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def _message(function: Callable[[], Any]) -> bytes:
    """The result of a function, or its error."""
    try:
        return pickle.dumps((function(), None))
    except Exception as error:
        return pickle.dumps((None, _portable(error)))


def _portable(error: Exception) -> Exception:
    """The same error, or one with its text if it cannot be copied."""
    try:
        if str(pickle.loads(pickle.dumps(error))) == str(error):
            return error
    except Exception:  # whatever the constructor of an error of others does
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


def all_or_none(what: str, function: Callable[[], _Result]) -> _Result:
    """Call a function in every process; if it fails in one, the others raise too instead of waiting for that one.

    Args:
        what: names it in the error of the others.
        function: what to call.

    Raises:
        OtherProcessError: if it failed in another process.

    Example:
        >>> all_or_none("counting", lambda: 3)
        3
    """
    if process_count() == 1:
        return function()
    try:
        result = function()
    except Exception:
        # After reads of arrays that failed, some of which go on, it happened that this did not return.
        telling = threading.Thread(target=gather, args=(np.ones(1, np.int32),), daemon=True)
        telling.start()
        telling.join(GRACE_SECONDS)
        raise
    failed = gather(np.zeros(1, np.int32))[:, 0]
    if failed.any():
        raise OtherProcessError(f"{what} failed in process {failed.argmax()} of {len(failed)}, which says why")
    return result


def wait_together(what: str, function: Callable[[], object]) -> None:
    """Wait for something that needs all processes, and end at once if one of them fails or is gone.

    The function alone may wait for a process that is gone until JAX aborts this one for it, without an exception. So it
    runs in a thread, and meanwhile all ask one another whether they are done.

    Args:
        what: names it in the error of the others.
        function: waits, without computing on devices.

    Raises:
        OtherProcessError: if it failed in another process.

    Example:
        >>> wait_together("waiting", lambda: None)
    """
    if process_count() == 1:
        function()
        return
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            function()
        except BaseException as error:  # raised below
            errors.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    busy = 1
    while busy:
        waiting.join(ASK_SECONDS)
        waits, told = waiting.is_alive(), errors[:]  # an error that comes while this asks is told the next time
        busy, failed = agree(int(waits or bool(told)), int(bool(told)))
        if told:
            raise told[0]
        if failed:
            raise OtherProcessError(f"{what} failed in another process, which says why")


def check_same(function: str, values: Mapping[str, Any]) -> None:
    """Raise ValueError if the processes do not have the same values.

    Args:
        function: whose name stands in the error.
        values: numbers, texts, or trees of them and of arrays, by name. Of arrays that lie partly in other processes
            the shapes are compared.

    Example:
        >>> check_same("fit", {"epochs": 3, "data": np.ones(2)})
    """
    if process_count() == 1:
        return
    sums = gather(np.array([_checksum(value) for value in values.values()], np.uint32))
    for name, column in zip(values, sums.T, strict=True):
        if (column != column[0]).any():
            other = int((column != column[0]).argmax())
            raise ValueError(
                f"{function}: {name} of process {other} differ from those of process 0, but every process has to give "
                "the same, all of the data included; it works on its part of every batch. If each has examples of its "
                "own, make arrays of all: jax.make_array_from_process_local_data(jax.sharding.NamedSharding(mesh, "
                "jax.sharding.PartitionSpec('data')), examples)"
            )


def _checksum(value: Any) -> int:
    """Of the structure, and of every leaf; or what a source says of itself."""
    if hasattr(value, "checksum"):
        return int(value.checksum())
    words = [str(jax.tree.structure(value))]
    for leaf in jax.tree.leaves(value):
        if isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if hasattr(leaf, "shape"):
            words.append(f"{leaf.dtype}{list(leaf.shape)}")
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            continue  # one array of all processes
        words.append(str(data_checksum(leaf)) if isinstance(leaf, np.ndarray | jax.Array) else repr(leaf))
    return data_checksum(np.frombuffer(" ".join(words).encode(), np.uint8))


def put_tree(function: str, name: str, tree: PyTree, shardings: Any) -> Any:
    """Put a tree of arrays where `shardings` say, which may include devices of other processes.

    Args:
        function: whose name stands in errors.
        name: of the tree, in errors.
        tree: arrays of this process, the same in all, or of all processes.
        shardings: one for all arrays, or a tree of them.

    Raises:
        ValueError: if the processes do not have the same arrays.

    Example:
        >>> put_tree("fit", "data", np.ones(2), None)
        Array([1., 1.], dtype=float32)
    """
    if process_count() == 1:
        return jax.device_put(tree, shardings)
    check_same(function, {name: tree})
    structure: Any = jax.tree.structure(tree)
    if structure == jax.tree.structure(shardings):
        return jax.tree.map(put_array, tree, shardings)
    return jax.tree.map(lambda leaf: put_array(leaf, shardings), tree)


def put_array(leaf: Any, sharding: Any) -> jax.Array:
    """Put an array that is the same in all processes where `sharding` says; `jax.device_put` would send it to compare.

    Example:
        >>> put_array(np.ones(2), None)
        Array([1., 1.], dtype=float32)
    """
    dtype = jax.numpy.result_type(leaf)
    is_key = jax.numpy.issubdtype(dtype, jax.dtypes.prng_key)
    is_placed = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    if is_key or is_placed or sharding is None or sharding.is_fully_addressable:
        placed: jax.Array = jax.device_put(leaf, sharding)
        return placed
    here = np.asarray(leaf, dtype)
    return jax.make_array_from_callback(here.shape, sharding, lambda index: here[index])


def is_lost(error: BaseException | None) -> bool:
    """Say whether an error may mean that another process is gone.

    Example:
        >>> is_lost(ValueError("Gloo AllGather failed: Connection closed by peer"))
        False
    """
    words = ("gloo", "nccl", "connection", "socket", "coordination service", "heartbeat")
    return process_count() > 1 and error is not None and any(word in str(error).lower() for word in words)


@contextlib.contextmanager
def explain_lost(advice: str) -> Iterator[None]:
    """Say in a note of an error that another process may be gone, and what to do then.

    Example:
        >>> with explain_lost("start all again"):
        ...     pass
    """
    try:
        yield
    except Exception as error:
        if is_lost(error):
            error.add_note(
                f"process {jax.process_index()} of {process_count()}: another process seems to be gone, whose "
                f"own output may say why; {advice}"
            )
        raise


def to_host(tree: PyTree) -> Any:
    """Return a tree with arrays of NumPy, whole, also of arrays that are divided between processes; call it in all.

    Example:
        >>> to_host({"w": jax.numpy.ones(2)})
        {'w': array([1., 1.], dtype=float32)}
    """
    if process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    def whole(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            return multihost_utils.process_allgather(leaf, tiled=True)
        return jax.device_get(leaf)

    return jax.tree.map(whole, tree)
