"""Peers in their own process, which answers each line "peer steps" on standard input with the seconds taken, of wall
time and of the processor, and with what the peer returned.
"""

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
    """Prepare the peers named on the command line, print their numbers of steps, and run them on request."""
    case_name, environment, *names = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # other output of libraries is not an answer
    if environment == "same":
        keep_freed_memory()
    case = importlib.import_module(f"benchmarks.{case_name}")
    peers = {}
    for name in names:
        peers[name] = importlib.import_module(f"benchmarks.{case_name}.{name}").prepare(case.weights(), *case.data())
    steps = {name: peer.steps or case.STEPS for name, peer in peers.items()}
    for name, peer in peers.items():
        peer.run(steps[name])  # compiles
    print(json.dumps(steps), file=answers, flush=True)
    for line in sys.stdin:
        name, count = line.split()
        started, used = time.perf_counter(), time.process_time()
        value = peers[name].run(int(count))
        seconds, processor_seconds = time.perf_counter() - started, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = {"seconds": seconds, "processor_seconds": processor_seconds, "peak_kilobytes": peak, "value": value}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
