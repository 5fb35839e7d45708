"""One peer in a process of its own: it answers each line "steps" on standard input with the seconds they took."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time


def keep_freed_memory() -> None:
    """The allocator setting that jaxnets applies, for any process (Linux, glibc)."""
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-4, 0)
    mallopt(-1, 2**31 - 1)


def main() -> None:
    """Prepare the peer named on the command line, report its loss, and run steps on request."""
    case_name, peer_name, environment = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    if environment == "same":
        keep_freed_memory()
    case = importlib.import_module(f"benchmarks.{case_name}")
    peer = importlib.import_module(f"benchmarks.{case_name}.{peer_name}").prepare(case.weights(), *case.data())
    steps = peer.steps or case.STEPS
    peer.run(steps)  # compiles
    print(json.dumps({"loss": peer.loss, "steps": steps}), file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        peer.run(int(line))
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "peak_kilobytes": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
