"""A checkpoint that cannot be written is one clear error, and the one before it is still there."""

import contextlib
import logging
import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.errors import SaveError
from jaxnets.training import Checkpoints, TrainState, fit, load_last, make_step

OPTIMIZER = optax.sgd(0.1)
DATA = np.ones((8, 1), np.float32)


def loss(params, state, batch, *, key, train):
    return jnp.mean((params * jnp.mean(batch)) ** 2), (state, {})


def train(folder, epochs, callbacks=()):
    params = jax.random.normal(jax.random.key(0), (200, 200))  # 160 kB that cannot be compressed
    start = TrainState.create(params, OPTIMIZER.init(params), seed=0)
    checkpoints = Checkpoints(folder, best=None)
    settings = {"epochs": epochs, "batch_size": 4, "callbacks": callbacks, "checkpoints": checkpoints}
    return fit(start, make_step(loss, OPTIMIZER), DATA, **settings).train_state


@contextlib.contextmanager
def files_of_at_most(size):
    """As on a disk without more room: writing more is an error of the operating system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# tensorstore's threads finish other files of the checkpoint after orbax's event loop is closed, and only print that.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_save_that_fails_is_one_error_and_loses_nothing(tmp_path, caplog):
    folder = tmp_path / "run"
    with contextlib.ExitStack() as stack:

        def fill(event):
            if event.kind == "epoch" and event.step == 4:
                while not (folder / "last" / "2").exists():  # orbax writes in the background
                    time.sleep(0.01)
                stack.enter_context(files_of_at_most(50_000))

        with caplog.at_level(logging.ERROR), pytest.raises(SaveError) as raised:
            train(folder, 4, [fill])
    assert str(raised.value) == (
        f"the checkpoint in {folder / 'last'} could not be saved: File too large; mend that and start again: the run "
        f"goes on from the last complete checkpoint in {folder}"
    )
    assert raised.value.__context__ is raised.value.__cause__
    assert not caplog.records
    assert int(load_last(folder, like=train(tmp_path / "other", 1)).step) == 2

    resumed, undisturbed = train(folder, 4), train(tmp_path / "whole", 4)
    np.testing.assert_array_equal(resumed.params, undisturbed.params)
