"""The loop on one page: its step is the library's, it learns, and it prints its progress."""

import json
import re

import jax
import numpy as np
import pytest

from experiments import plain_loop
from jaxnets import make_model, metrics, training
from jaxnets.data import digits


def test_a_step_is_that_of_make_step():
    """Parameters, running statistics and loss, from the same values with the same noise."""
    dropout_key = jax.random.key(8)

    def loss(params, state, batch, *, key, train):
        value, state = plain_loop.loss(params, state, *batch, dropout_key)
        return value, (state, {"loss": value})

    model = make_model(plain_loop.SPEC, plain_loop.network)
    initial = training.init_train_state(model, plain_loop.OPTIMIZER, seed=3)
    batch = tuple(array[:64] for array in digits().train)
    params, state, _, value = plain_loop.train_step(
        initial.params, initial.state, initial.opt_state, *batch, dropout_key
    )
    expected, measured = jax.jit(training.make_step(loss, plain_loop.OPTIMIZER))(initial, batch)
    np.testing.assert_allclose(value, metrics.compute(measured)["loss"], rtol=1e-5)
    for ours, theirs in ((params, expected.params), (state, expected.state)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, theirs)


def test_it_learns_and_says_so(capsys):
    accuracy = plain_loop.main(epochs=3)
    *epochs, last = capsys.readouterr().out.splitlines()
    assert accuracy > 0.93
    assert last == f"test accuracy {accuracy:.4f}"
    losses_of_epochs = [float(re.search("loss of the last batch ([0-9.]+)", line)[1]) for line in epochs]
    assert len(losses_of_epochs) == 3
    assert losses_of_epochs[-1] < losses_of_epochs[0]


def test_the_folder_has_what_was_printed(tmp_path, capsys):
    accuracy = plain_loop.main(seed=3, out=tmp_path / "run", smoke=True)
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == {"seed": 3, "test accuracy": accuracy}
    assert capsys.readouterr().out.endswith(f"test accuracy {accuracy:.4f}\n")


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 0}, {"batch_size": 5000}])
def test_settings_that_cannot_be(settings):
    with pytest.raises(SystemExit, match="epochs must be at least 1, batch_size from 1 to 1258; got "):
        plain_loop.main(**settings)


def test_the_seed_gives_the_same_again_and_another_one_something_else(capsys):
    for seed in (0, 0, 1):
        plain_loop.main(seed, smoke=True)
    first, again, other = capsys.readouterr().out.split("epoch 1: ")[1:]
    assert first == again != other
