"""A process that has imported everything and forks a run on request, which saves the seconds of starting Python.

It reads one JSON object per line, forks a child that trains, prints the child's number, and when the child has ended
the status by which it did. No array exists before the fork: JAX's backends cannot be forked.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

import optax  # noqa: F401
import orbax.checkpoint  # noqa: F401

from tests.training import killed_run


def slow_down(seconds):
    """Let what completes a checkpoint take longer, as on a slow or busy disk."""
    for name in ("rename", "replace"):

        def slow(*args, _function=getattr(os, name), **kwargs):
            time.sleep(seconds)
            return _function(*args, **kwargs)

        setattr(os, name, slow)


def child(request):
    """Train; what goes wrong is written to `errors`."""
    descriptor = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 2)
    os.dup2(descriptor, 1)
    slow_down(request["writer_seconds"])
    try:
        killed_run.main(Path(request["folder"]), 0.0, epochs=2)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def main():
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            child(json.loads(line))
        print(number, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
