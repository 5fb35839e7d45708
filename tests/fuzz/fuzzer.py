"""Reads many damaged files with one parser in a process of its own: `python -m tests.fuzz.fuzzer NAME INPUTS [FIRST]`.

Without arguments it reads lines of NAME INPUTS and forks a process for each, which saves the seconds of the imports.

The memory of an input is measured in two ways: what Python and numpy allocate, by tracemalloc, and what native readers
touch, by the largest resident size of the process. An allocation that fails for want of memory counts as too much.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

from tests.fuzz.mutate import mutate
from tests.fuzz.parsers import PARSERS

RESIDENT_CONSTANT = 64 << 20
ADDRESS_SPACE = 8 << 30
CODE = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen")
CANARY = "attacked"


class CodeRunError(BaseException):
    """A parser did what only code in a file would make it do; no parser catches it."""


def main(name: str, inputs: int, first: int = 0) -> dict:
    """Read the damaged files of numbers `first` to `first + inputs`, after an undamaged one."""
    parser, faults, accepted, slowest = PARSERS[name], [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        samples = [parser.samples(Path(folder), seed) for seed in (0, 1)]
        place = Path(folder) / "read"
        place.mkdir()
        parser.store(place, samples[0])
        parser.read(place)
        os.chdir(folder)
        _watch_for_code()
        _limit_memory()
        tracemalloc.start()
        begin = time.perf_counter()
        for number in range(first, first + inputs):
            files = _damaged(samples, number)
            _empty(place)
            size = parser.store(place, files)
            started = time.perf_counter()
            fault, read = _read(parser, place, size)
            slowest = max(slowest, time.perf_counter() - started)
            accepted += read
            if Path(CANARY).exists():
                fault = "a file made the parser make a folder"
                Path(CANARY).rmdir()
            if fault:
                faults.append(f"input {number}: {fault}")
        seconds = time.perf_counter() - begin
    return {
        "parser": name,
        "inputs": inputs,
        "accepted": accepted,
        "faults": len(faults),
        "first": faults[:20],
        "seconds": round(seconds, 1),
        "slowest": round(slowest, 3),
        "peak_mib": round(_resident() / 2**20),
    }


def _damaged(samples, number):
    """The files of one input: one of them damaged or, where there are several, now and then missing."""
    files = dict(samples[0])
    rng = np.random.default_rng([number, 0])
    name = sorted(files)[rng.integers(len(files))]
    if len(files) > 1 and rng.integers(20) == 0:
        del files[name]
    else:
        files[name] = mutate(files[name], samples[1].get(name, b""), rng)
    return files


def _read(parser, place, size):
    """What is wrong with how a parser reads the files, or None, and whether it took them."""
    fault, read, resident = None, False, _resident()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser.read(place)
        read = True
    except parser.documented as error:
        if parser.names_file and str(place) not in str(error):
            fault = f"the message does not name the file: {error}"
        if any(isinstance(cause, MemoryError) for cause in _causes(error)):
            fault = f"there was not enough memory: {error}"
    except (Exception, CodeRunError) as error:
        fault = "".join(traceback.format_exception_only(error)[-1:]) + str(
            traceback.extract_tb(error.__traceback__)[-3:]
        )
    allocated = tracemalloc.get_traced_memory()[1] - before
    for kind, taken, constant in (
        ("allocated", allocated, parser.constant),
        ("resident", _resident() - resident, parser.constant + RESIDENT_CONSTANT),
    ):
        if taken > constant + parser.multiple * size:
            fault = f"{taken:,} bytes {kind} for {size:,} bytes of files"
    return fault and fault[:600], read


def _causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _resident():
    """The largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _empty(place):
    for entry in os.scandir(place):
        shutil.rmtree(entry) if entry.is_dir() else os.unlink(entry)


def _watch_for_code():
    def watch(event, arguments):
        if event in CODE:
            raise CodeRunError(f"{event} {arguments}")

    sys.addaudithook(watch)


def _limit_memory():
    """No allocation can fill the machine, whose other processes would suffer."""
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE, resource.RLIM_INFINITY))


def serve():
    """Fork for each line of the input; print the report, and the status by which the fork ended."""
    for line in sys.stdin:
        name, inputs = line.split()
        child = os.fork()
        if child == 0:
            try:
                print(json.dumps(main(name, int(inputs))), flush=True)
                os._exit(0)
            finally:
                traceback.print_exc()
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print("status", status, flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
    else:
        serve()
