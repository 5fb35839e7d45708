"""Start as one of several processes that train one network; see `jaxnets.processes`.

A program is written once, for any number of processes; the launch says how many there are.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any

import jax
import numpy as np

from jaxnets.integers import as_integer
from jaxnets.processes import GRACE_SECONDS, is_first, is_lost

_CLUSTERS = ("KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES")
"""Variables of the environment in which clusters start processes that JAX may know."""
_VARIABLES = {
    "coordinator_address": "JAX_COORDINATOR_ADDRESS",
    "num_processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}


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
            time.sleep(GRACE_SECONDS if is_first() else 0)
        else:
            leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
            leaving.start()
            leaving.join(GRACE_SECONDS)
            if not leaving.is_alive():
                return
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130 if isinstance(error, KeyboardInterrupt) else 1)

    sys.excepthook = leave
