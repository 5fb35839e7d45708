"""A playground's server in a process of its own, as its command starts it, and what a page says to it."""

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "jaxnets", "playground", "--no-browser"]


def plain_environment():
    """Without the flags by which tests compile faster to other bits."""
    return {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def serving(environment=None):
    """Run the server; gives its process and its port."""
    server = subprocess.Popen(
        [*COMMAND, "--port", "0"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line + (server.stderr.read() if server.poll() is not None else "")
        yield server, int(found[1])
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


def read_frame(frame):
    """The header of a frame, and how many bytes of pictures follow it."""
    (length,) = struct.unpack_from("<I", frame)
    return json.loads(frame[4 : 4 + length]), len(frame) - 4 - length
