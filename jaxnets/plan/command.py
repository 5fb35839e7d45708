"""The command `python -m jaxnets plan`."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Sequence

import jax

from jaxnets import sharding
from jaxnets.console import library_command
from jaxnets.plan.alternatives import alternatives
from jaxnets.plan.chips import CHIPS, machine, require_compiler
from jaxnets.plan.plan_step import Training, plan_training
from jaxnets.plan.program import Program, find_training, load_program

RULES = {
    "none": None,
    "fsdp": sharding.FSDP,
    "tensor": sharding.TENSOR,
    "fsdp_tensor": sharding.FSDP_TENSOR,
}
"""What `--rules` takes."""


def main(words: Sequence[str]) -> None:
    """Plan the training step of a program; exits with 1 if it does not fit or cannot be planned."""
    at = list(words).index("--") if "--" in words else len(words)
    parser = make_parser()
    asked = parser.parse_args(words[:at])
    jax.config.update("jax_platforms", "cpu")  # JAX would look for a TPU where its compiler is installed
    try:
        machine(asked.target)
        require_compiler()
        fits = run(asked, load_program(asked.program, words[at + 1 :]))
    except (ValueError, TypeError, ModuleNotFoundError) as error:
        parser.exit(1, f"{parser.prog}: {str(error).removeprefix('plan: ')}\n")
    sys.exit(0 if fits else 1)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    command = f"{library_command()} plan"
    found = argparse.ArgumentParser(
        prog=command,
        description="Compile a program's training step for TPUs that are not there; print what the compiler predicts.",
        epilog=f"Options of an experiment follow --: {command} --target v5e:1x1 shakespeare_gpt -- --size reference",
    )
    found.add_argument("program", help="an experiment, or module:function; see the documentation")
    found.add_argument("options", nargs="*", help="of the experiment, after --")
    found.add_argument("--target", required=True, help=f"chip ({', '.join(CHIPS)}) and slice: v5e:1x1, v5e:4x4")
    found.add_argument("--mesh", type=mesh_sizes, help="data=4,model=4; by default data=CHIPS")
    found.add_argument("--rules", choices=RULES, default="none", help="how arrays are divided (default: none)")
    found.add_argument("--price", type=float, help="of a chip for an hour, to say what the run costs")
    found.add_argument("--steps", type=int, help="of the run; by default what fit was asked for")
    return found


def mesh_sizes(text: str) -> dict[str, int]:
    """Read the sizes of a mesh.

    Example:
        >>> mesh_sizes("data=4,model=2")
        {'data': 4, 'model': 2}
    """
    pairs = [part.split("=") for part in text.split(",")]
    if not all(len(pair) == 2 and pair[1].isdigit() for pair in pairs):
        raise argparse.ArgumentTypeError(f"write the axes as data=4,model=2, got {text!r}")
    return {name: int(size) for name, size in pairs}


def run(asked: argparse.Namespace, program: Program) -> bool:
    """Print the plan that was asked for, and what fits if it does not; returns whether it fits."""

    @functools.cache
    def load(remat: bool) -> Training:
        training = find_training(program, remat=remat)
        return training if asked.steps is None else dataclasses.replace(training, steps=asked.steps)

    rules = RULES[asked.rules]
    plan = plan_training(load(False), asked.target, mesh=asked.mesh, rules=rules, price=asked.price)
    print(plan, flush=True)
    if plan.fits:
        return True
    for words, other in alternatives(load, plan, mesh=asked.mesh, rules=rules):
        print(f"\n{words}: {'it fits' if other.fits else 'it does not fit either'}\n\n{other}", flush=True)
    return False
