"""The whole program in a fresh process: `python -m benchmarks.pima_mlp.script PEER [cache folder]`."""

import importlib
import sys

from benchmarks import pima_mlp as case


def main() -> None:
    """Import, build, train 100 epochs, and end."""
    peer, *cache = sys.argv[1:]
    if cache:
        from jaxnets.train import keep_compiled_programs

        keep_compiled_programs(cache[0])
    prepared = importlib.import_module(f"benchmarks.pima_mlp.{peer}").prepare(case.weights(), *case.data())
    prepared.run(case.STEPS)


if __name__ == "__main__":
    main()
