"""Several processes that train one network: they start together, agree on what to do, and the first one reports.

A program is written once, for any number of processes; the launch says how many there are. With one process nothing
here costs anything, and no device is touched.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np

from jaxnets.checksum import data_checksum
from jaxnets.integers import as_integer
from jaxnets.types import PyTree

_Result = TypeVar("_Result")

_GRACE_SECONDS = 5.0
_CLUSTERS = ("KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
"""Variables of the environment in which clusters start processes that JAX may know."""
_VARIABLES = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}


class OtherProcessError(RuntimeError):
    """Something failed in another process, whose own output says why."""


def start_processes(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    heartbeat_timeout_seconds: int = 100,
    initialization_timeout: int = 300,
) -> None:
    """Join the other processes of this program, by `jax.distributed.initialize`; without a launch there is one process.

    Call it before anything that computes. What is not given comes from the variables `JAX_COORDINATOR_ADDRESS`,
    `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` of the environment, or from the cluster where JAX knows it (SLURM, Open
    MPI, Cloud TPU, Kubernetes with its Python package). If there is nothing of all that, this is the only process.

    SIGTERM ends a process as it did before, unless `fit` waits for it: JAX alone would take note of it and go on. A
    process that ends by an exception waits five seconds for the others at most, so that they learn of it.

    Args:
        coordinator_address: where process 0 listens, `"host:port"`; any free port.
        num_processes: how many there are.
        process_id: the number of this one, from 0.
        heartbeat_timeout_seconds: how long a process may be silent until the others end. On CPU they notice at once
            that one is gone, on accelerators after this time; but a process that only is slow, such as one that is
            suspended, must not be taken for dead.
        initialization_timeout: seconds to wait for the others.

    Raises:
        ValueError: if some settings are missing, or they do not fit.
        RuntimeError: if there are several, and it is called a second time or after something was computed.
        ConnectionError: if process 0 does not answer.

    Example:
        Alone, or as two processes by `JAX_COORDINATOR_ADDRESS=localhost:1234 JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0` and
        the same with `JAX_PROCESS_ID=1`:

        >>> start_processes()
        >>> is_first()
        True
    """
    if jax.distributed.is_initialized():
        raise RuntimeError("start_processes: the processes are started already; call it once")
    settings = _settings(coordinator_address, num_processes, process_id)
    if len(settings) == 3 and settings["process_id"] > 0:
        _wait_for_first(settings["coordinator_address"], initialization_timeout)
    try:
        jax.distributed.initialize(
            **settings,
            heartbeat_timeout_seconds=as_integer(
                "start_processes", "heartbeat_timeout_seconds", heartbeat_timeout_seconds, at_least=1
            ),
            initialization_timeout=initialization_timeout,
        )
    except ValueError as error:
        if not settings and "coordinator_address" in str(error):
            return  # no launch of several
        raise ValueError(
            f"start_processes: {error} Give coordinator_address, num_processes and process_id, or set "
            f"{', '.join(_VARIABLES.values())}, or launch by srun, mpirun or Kubernetes' indexed jobs"
        ) from error
    except RuntimeError as error:
        if "before any JAX" not in str(error):
            raise
        if not settings and not any(name in os.environ for name in _CLUSTERS):
            return  # no launch of several
        raise RuntimeError(
            "start_processes: something was computed before, or the devices were listed; make it the first call of "
            "the program"
        ) from error
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # in the place of the handler of JAX
    _leave_after_errors()


def _settings(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> dict[str, Any]:
    """The settings that were given or stand in the environment."""
    given = {"coordinator_address": coordinator_address, "num_processes": num_processes, "process_id": process_id}
    found: dict[str, Any] = {}
    for name, value in given.items():
        from_environment = value is None
        value = os.environ.get(_VARIABLES[name]) if from_environment else value
        if value is None or value == "":
            continue
        if name != "coordinator_address":
            said = _VARIABLES[name] if from_environment else name
            try:
                value = as_integer("start_processes", said, int(value), at_least=int(name == "num_processes"))
            except ValueError as error:
                raise ValueError(f"start_processes: {said} must be a number, got {value!r}") from error
        found[name] = value
    address = found.get("coordinator_address")
    if address is not None and not str(address).rpartition(":")[2].isdigit():
        wanted = 'coordinator_address must be "host:port", such as "10.0.0.1:1234"'
        raise ValueError(f"start_processes: {wanted}; got {address!r}")
    if found.get("process_id", -1) >= found.get("num_processes", np.inf):
        raise ValueError(
            f"start_processes: process_id {found['process_id']} is none of {found['num_processes']} processes, which "
            "are numbered from 0"
        )
    return found


def _wait_for_first(address: str, seconds: float) -> None:
    """Wait until process 0 listens: JAX would abort without an exception."""
    host, _, port = address.rpartition(":")
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"start_processes: nothing answers at {address} within {seconds:g} seconds ({error}); process 0 "
                    "has to run on that machine and listen at that port, which must be reachable from here"
                ) from error
            time.sleep(0.2)
        else:
            return


def _leave_after_errors() -> None:
    """Let a process that ends by an exception wait for the others a short time only: they may be waiting for it.

    Python would wait for background threads first, which may wait for other processes in their turn, and JAX up to five
    minutes. Process 0 stays for that time anyway, since the others are aborted when it goes, before they can say why.
    """
    show = sys.excepthook

    def leave(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        show(kind, error, traceback)
        if is_lost(error):
            time.sleep(_GRACE_SECONDS if is_first() else 0)
        else:
            leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
            leaving.start()
            leaving.join(_GRACE_SECONDS)
            if not leaving.is_alive():
                return
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)

    sys.excepthook = leave


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
        telling.join(_GRACE_SECONDS)
        raise
    failed = gather(np.zeros(1, np.int32))[:, 0]
    if failed.any():
        raise OtherProcessError(f"{what} failed in process {failed.argmax()} of {len(failed)}, which says why")
    return result


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
    """Of the structure, and of every leaf."""
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
