"""The program of a network computes what the page shows, digit by digit."""

import ast
import dataclasses

import jax
import pytest

from jaxnets.playground.code import program
from jaxnets.playground.run import Run
from jaxnets.playground.settings import PlaygroundSettings

CIRCLE = PlaygroundSettings(epochs=2)
CASES = {
    "circle": CIRCLE,
    "l1": PlaygroundSettings(
        data="spiral", features=("x1", "x2", "x1*x2", "sin(x1)"), hidden=(4, 2), activation="tanh", noise=0.1,
        regularization="l1", regularization_rate=0.003, learning_rate=0.1, batch_size=7, train_share=0.3, epochs=2,
        seed=2**32 - 1, data_seed=7,
    ),
    "l2": PlaygroundSettings(
        data="plane", hidden=(2,), activation="linear", regularization="l2", regularization_rate=0.01, epochs=2
    ),
    "relu": dataclasses.replace(CIRCLE, data="xor", hidden=(8,), activation="relu", train_share=0.9),
    "untrained": dataclasses.replace(CIRCLE, hidden=(), epochs=0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_program_prints_the_losses_of_the_run_to_the_bits(name, capsys):
    """Nine digits determine a number of 32 bits."""
    settings = CASES[name]
    run = Run(settings)
    for _ in range(settings.epochs):
        run.train()
    expected = {
        split: {metric: f"{value:.9g}" for metric, value in numbers.items()} for split, numbers in run.measure().items()
    }
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(program(settings), name, "exec"), {"__name__": "program"})
    lines = capsys.readouterr().out.splitlines()
    printed = {split: ast.literal_eval(words) for split, words in (line.split(" ", 1) for line in lines)}
    assert printed == expected


@pytest.mark.parametrize("name", CASES)
def test_the_program_is_as_ruff_formats_it_in_width(name):
    assert max(map(len, program(CASES[name]).splitlines()[3:])) <= 120
