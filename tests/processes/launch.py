"""Start the processes of a test on this machine, wait for them for a limited time, and leave none behind."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Launch:
    """Processes that run a module with arguments, each with one CPU device; their outputs are kept in a folder.

    Attributes:
        processes: what `subprocess.Popen` returned.
    """

    def __init__(self, count, folder, *command, **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.outputs = Path(tempfile.mkdtemp(prefix="outputs-", dir=folder))
        self.processes = [self._start(number, count, port, command, environment) for number in range(count)]

    def _start(self, number, count, port, command, environment):
        several = {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(number),
        }
        settings = {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **(several if count > 1 else {}),
            **environment,
        }
        with self._file(number).open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **settings},
            )

    def _file(self, number):
        return self.outputs / str(number)

    def output(self, number):
        """What a process has written so far."""
        return self._file(number).read_text(errors="replace")

    def wait_for(self, number, text, seconds=120):
        """Wait until a process has written some text."""
        end = time.monotonic() + seconds
        while text not in self.output(number):
            if time.monotonic() > end or any(process.poll() for process in self.processes):
                raise TimeoutError(f"no {text!r} in the output of process {number}:\n{self.everything()}")
            time.sleep(0.02)

    def wait(self, seconds):
        """Return the codes by which the processes end."""
        end = time.monotonic() + seconds
        try:
            return [process.wait(max(0.0, end - time.monotonic())) for process in self.processes]
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {seconds} s:\n{self.everything()}") from None

    def succeed(self, seconds):
        """Wait until all have ended, without an error."""
        codes = self.wait(seconds)
        assert codes == [0] * len(codes), self.everything()
        return [self.output(number) for number in range(len(codes))]

    def everything(self):
        """The outputs of all."""
        return "\n".join(
            f"--- process {number}\n{self.output(number)[-4000:]}" for number in range(len(self.processes))
        )

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def launched(*arguments, **environment):
    """Start processes, and kill those that are left at the end."""
    launch = Launch(*arguments, **environment)
    try:
        yield launch
    finally:
        launch.kill()
