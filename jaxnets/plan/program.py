"""Finds the training step of a program, by running the program up to it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxnets.config import replaced_fields
from jaxnets.console import library_command
from jaxnets.experiment import read_options
from jaxnets.model import Model
from jaxnets.plan.memory import held
from jaxnets.plan.plan_step import Training, shape_of
from jaxnets.sharding import spec_of
from jaxnets.spec import Spec, init
from jaxnets.training.first_step import FirstStepReached, Noted, stop_at_first_step
from jaxnets.training.state import TrainState
from jaxnets.tree import paths

Program = Callable[[], Any]
"""Trains when it is called, or returns what is to be planned."""


def load_program(name: str, options: Sequence[str] = ()) -> Program:
    """Find a program by its name.

    Args:
        name: an experiment (`shakespeare_gpt`), a module that has `Config` and `run(config)` as experiments do, or
            `module:function`.
        options: of the experiment, as on its command line.

    Returns:
        A function without arguments. That of an experiment writes into a temporary run folder.

    Raises:
        ValueError: if there is no such module or function, or it is not a program.
    """
    module_name, _, function = name.partition(":")
    module = _import(module_name)
    if function:
        if not callable(found := getattr(module, function, None)):
            raise ValueError(f"plan: {module_name} has no function {function!r}")
        if options:
            raise ValueError(f"plan: options after -- are for experiments; {name} takes none")
        _check_takes_nothing(name, found)
        return found  # type: ignore[no-any-return]
    if not (hasattr(module, "Config") and hasattr(module, "run")):
        raise ValueError(
            f"plan: {module.__name__} is no experiment: it has no Config and run(config); name a function of it that "
            f"trains, or returns a step, a train state and a batch: {module_name}:function"
        )
    return lambda: _run(module, options)


def _check_takes_nothing(name: str, function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions that are written in C have none
        return
    try:
        signature.bind()
    except TypeError as error:
        raise ValueError(
            f"plan: {name} is called without arguments, but: {error}; name a function of yours that calls it with them"
        ) from error


def _import(name: str) -> Any:
    if "" not in sys.path and os.getcwd() not in sys.path:  # the console script does not look there
        sys.path.insert(0, os.getcwd())
    tried = (name,) if "." in name else (name, f"experiments.{name}")
    for candidate in reversed(tried):
        try:
            return importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name is None or not (candidate == error.name or candidate.startswith(f"{error.name}.")):
                raise
    raise ValueError(
        f"plan: there is no experiment or module {name!r} here; python -m experiments lists the experiments in a clone "
        "of the repository, and a program of your own is named module:function, from the folder of its module"
    )


def _run(module: Any, options: Sequence[str]) -> Any:
    config = read_options(module.Config, words=options, command=f"{library_command()} plan {module.__name__} --")
    with tempfile.TemporaryDirectory() as folder:
        if "out" in {field.name for field in dataclasses.fields(config)}:
            config = dataclasses.replace(config, out=Path(folder) / "run")
        return module.run(config)


def find_training(program: Program, *, remat: bool = False) -> Training:
    """Run a program up to its first training step, and return that step with the shapes it is called with.

    Args:
        program: see `load_program`. It may also return the triple of a step, a train state and a batch (arrays or
            shapes), or a `Training`.
        remat: make all models whose config has `remat` compute their blocks again in the backward pass.

    Raises:
        ValueError: if the program ends without a training step, or needs data that are not there.
    """
    blocks_again = replaced_fields(remat=True) if remat else contextlib.nullcontext()
    with contextlib.redirect_stdout(sys.stderr), stop_at_first_step() as noted, blocks_again:
        try:
            returned = program()
        except FirstStepReached as reached:
            return _training(reached, noted)
        except OSError as error:
            raise ValueError(
                f"plan: the program needs data that are not there: {error}\nPut the files into the folder that "
                "JAXNETS_DATA names; experiments take made-up data, and a small network, with -- --smoke"
            ) from error
    if isinstance(returned, Training):
        return returned
    if isinstance(returned, tuple) and len(returned) == 3 and isinstance(returned[1], TrainState):
        step, train_state, batch = returned
        return Training(step, train_state, batch, model=_model_of(noted, train_state))
    raise ValueError(
        "plan: the program ended without a training step of jaxnets.training (make_step, alternate). Name a function "
        "that trains with one, or that returns (step, train_state, batch); shapes are enough"
    )


def _training(reached: FirstStepReached, noted: Noted) -> Training:
    train_state, batch, constants = jax.tree.map(shape_of, (reached.train_state, reached.batch, reached.constants))
    return Training(
        reached.step,
        train_state,
        batch,
        constants,
        _model_of(noted, train_state),
        data_bytes=held([shape_of(leaf) for leaf in jax.tree.leaves(noted.data) if hasattr(leaf, "dtype")]),
        steps=noted.steps,
    )


def _model_of(noted: Noted, train_state: Any) -> Model | Spec:
    """The model that has these parameters and a spec, or the spec of several that have them together."""
    wanted = {path: leaf.shape for path, leaf in paths(train_state.params).items()}

    def fits(spec: Spec) -> bool:
        if spec is None:
            return False
        made = jax.eval_shape(lambda: init(spec, jax.random.key(0)))[0]
        return {path: leaf.shape for path, leaf in paths(made).items()} == wanted

    fitting = (model for model in reversed(noted.models) if fits(spec_of(model)))
    found = next(fitting, None)
    return found if isinstance(found, Model) else spec_of(found)
