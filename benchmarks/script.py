"""A whole program in a fresh process: `python -m benchmarks.script CASE PEER STEPS [cache folder]`."""

import importlib
import sys


def main() -> None:
    """Import, build, and run the steps."""
    case_name, peer, steps, *cache = sys.argv[1:]
    case = importlib.import_module(f"benchmarks.{case_name}")
    case.STEPS = int(steps)  # so that programs with many steps per dispatch run exactly these
    if cache:
        from jaxnets.training import keep_compiled_programs

        keep_compiled_programs(cache[0])
    prepared = importlib.import_module(f"benchmarks.{case_name}.{peer}").prepare(case.weights(), *case.data())
    prepared.run(case.STEPS)


if __name__ == "__main__":
    main()
