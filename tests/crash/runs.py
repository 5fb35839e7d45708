"""Runs that can be killed, one after the other."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


class Runs:
    """Starts runs of `tests.training.killed_run` in forks of one process."""

    def __init__(self, cache):
        """`cache` is a folder for compiled programs: the first run, which is not killed, fills it."""
        self.folder = Path(cache)
        settings = {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        environment = {**os.environ, **settings}
        environment.pop("XLA_FLAGS", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, folder, *, kill_after=None, writer_seconds=0.0):
        """Train in a folder, and kill the run after so many seconds; returns the status by which it ended."""
        folder.mkdir(parents=True, exist_ok=True)
        errors = self.folder / "errors"
        request = {"folder": str(folder), "errors": str(errors), "writer_seconds": writer_seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        number = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        status = int(self.process.stdout.readline())
        if status not in (0, -signal.SIGKILL):
            self.errors = errors.read_text()
        return status

    def close(self):
        """End the process that forks."""
        self.process.communicate()


def bits_of(folder):
    """Every bit at the end of a run: of the last state, the best one and the history."""
    with np.load(folder / "end.npz") as file:
        return {name: (file[name].dtype.str, file[name].tobytes()) for name in file.files}
