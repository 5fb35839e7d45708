"""The time that experiments take to compile: `python -m benchmarks.experiments [NAME ...] [--write]`.

Each starts in a process of its own, by the command in its header, and is stopped once nothing was compiled for a while,
so that its first steps are done. The time is that of the processor while JAX traces, lowers and compiles: other
programs on the machine change it little. `--write` puts it into the header.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from experiments.__main__ import experiments

FOLDER = Path(__file__).parents[1] / "experiments"
COMPILING = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")
"""The last part of the names of JAX's events."""
QUIET, LONGEST = 12.0, 600.0
"""Seconds of the processor without compilation after which a process is stopped, and after which it is in any case."""
EVERY = 0.005
"""Seconds between two samples of the processor's time."""


class Clock:
    """The processor's time at any moment that has passed, and when JAX compiled."""

    def __init__(self) -> None:
        self.moments, self.processor = [time.perf_counter()], [time.process_time()]
        self.spans: list[tuple[float, float]] = []

    def sample(self) -> None:
        """Note the time of the processor at this moment."""
        self.moments.append(time.perf_counter())
        self.processor.append(time.process_time())

    def listen(self, event: str, seconds: float, **_: str | int) -> None:
        """Note when something was compiled; JAX calls it when that ends."""
        if event.endswith(COMPILING):
            now = time.perf_counter()
            self.spans.append((now - seconds, now))

    def at(self, moment: float) -> float:
        """The processor's time at a moment."""
        return self.processor[min(bisect.bisect(self.moments, moment), len(self.processor) - 1)]

    def compiling(self) -> float:
        """Seconds of the processor while JAX compiled; spans lie within one another."""
        total, end = 0.0, 0.0
        for first, last in sorted(self.spans):
            if last > end:
                total += self.at(last) - self.at(max(first, end))
                end = last
        return total


def start(name: str) -> None:
    """Run an experiment in this process until it is stopped or ends, and print the seconds."""
    import jax

    clock = Clock()
    jax.monitoring.register_event_duration_secs_listener(clock.listen)

    def end() -> None:
        clock.sample()
        print("\n" + json.dumps({"seconds": clock.compiling(), "ended": ended, "programs": len(clock.spans)}))
        sys.stdout.flush()
        os._exit(0)

    def watch() -> None:
        last = 0.0
        while True:
            time.sleep(EVERY)
            clock.sample()
            if not clock.spans or is_compiling(main_thread):
                last = clock.processor[-1]
            if clock.processor[-1] - last > QUIET or clock.processor[-1] > LONGEST:
                end()

    ended, main_thread = False, threading.get_ident()
    threading.Thread(target=watch, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        words = header_command(name)
        sys.argv = [name, *words, *([] if name == "plain_loop" else ["--out", f"{folder}/run"])]
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    ended = True
    end()


def is_compiling(thread: int) -> bool:
    """Say whether a thread is in JAX's compiler, of which JAX tells nothing before it ends."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename.endswith("jax/_src/compiler.py"):
            return True
        frame = frame.f_back
    return False


def header_command(name: str) -> list[str]:
    """The options in the header of an experiment."""
    command = re.search(rf"^command:   python -m experiments\.{name}(.*)$", document(name), re.MULTILINE)
    return command[1].split() if command else []


def document(name: str) -> str:
    """The docstring of an experiment."""
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())) or ""


def write(name: str, seconds: float) -> None:
    """Put the seconds into the header of an experiment, after the time that it takes."""
    path = FOLDER / f"{name}.py"
    number = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
    line = f"compile:   {number} s of processor time until the first steps are done, on an Intel Xeon\n"
    lines = [kept for kept in path.read_text().splitlines(keepends=True) if not kept.startswith("compile:")]
    place = next(i for i, text in enumerate(lines) if text.startswith("hardware:"))
    path.write_text("".join([*lines[:place], line, *lines[place:]]))


def main() -> None:
    """Measure experiments, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of experiments (default: all)")
    parser.add_argument("--write", action="store_true", help="put the seconds into the headers")
    parser.add_argument("--here", action="store_true", help="run one in this process")
    arguments = parser.parse_args()
    if arguments.here:
        return start(arguments.names[0])
    print("| experiment | seconds of the processor | programs | ended |\n|---|---|---|---|")
    for name in arguments.names or experiments():
        command = [sys.executable, "-m", "benchmarks.experiments", name, "--here"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1:]} | | |", flush=True)
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        print(f"| {name} | {found['seconds']:.2f} | {found['programs']} | {found['ended']} |", flush=True)
        if arguments.write:
            write(name, found["seconds"])
    return None


if __name__ == "__main__":
    main()
