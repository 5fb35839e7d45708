"""A run that is saved on one mesh of devices goes on on another, and ends as one that never changed devices."""

import chex
import jax
import numpy as np
import pytest

from jaxnets import losses, metrics
from jaxnets.sharding import FSDP, make_mesh, place
from jaxnets.training import (
    Checkpoints,
    fit,
    init_train_state,
    load_checkpoint,
    make_evaluate,
    make_step,
    save_checkpoint,
    supervised,
)
from jaxnets.training.shardings import train_state_shardings
from tests.forms import needs_devices
from tests.training.networks import CLASSES, OPTIMIZER, by_name, placement_of

pytestmark = needs_devices(8)


def placements(name):
    """Mixed on eight devices, FSDP on four, one device."""
    model = by_name(name).make(0.25)
    return [placement_of(name, "mixed"), place(model, make_mesh({"data": 4}, jax.devices()[:4]), FSDP), None]


def run(name, placement, epochs, folder=None):
    model = by_name(name).make(0.25)
    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    step = make_step(loss, OPTIMIZER, accumulate=2, placement=placement)
    inputs = by_name(name).inputs[:4].reshape(64, *by_name(name).inputs.shape[2:])
    labels = np.random.default_rng(2).integers(0, CLASSES, inputs.shape if name == "gpt" else 64).astype(np.int32)
    validation = {"evaluate": make_evaluate(loss, batch_size=16), "validation": (inputs[:21], labels[:21])}
    validation = validation if name == "gpt" else {}
    checkpoints = None if folder is None else Checkpoints(folder, best=None)
    train_state = init_train_state(model, OPTIMIZER, 0, placement=placement)
    data = inputs, labels
    return fit(train_state, step, data, epochs=epochs, batch_size=16, checkpoints=checkpoints, **validation)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "gpt"])
def test_a_run_goes_on_with_other_devices(name, tmp_path):
    for epochs, placement in enumerate(placements(name), start=1):
        result = run(name, placement, epochs, tmp_path)
        assert result.first_step == 4 * (epochs - 1)
        if placement is not None:
            wanted = train_state_shardings(result.train_state, placement)
            for leaf, sharding in zip(jax.tree.leaves(result.train_state), jax.tree.leaves(wanted), strict=True):
                assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    expected = run(name, None, 3)
    chex.assert_trees_all_close(
        jax.device_get(result.train_state), jax.device_get(expected.train_state), rtol=1e-4, atol=1e-5
    )
    for actual, record in zip(result.history, expected.history, strict=True):
        assert actual == {**record, "loss": pytest.approx(record["loss"], rel=1e-4)}


def test_a_saved_train_state_is_read_into_other_shards_with_the_same_bits(tmp_path):
    model = by_name("mlp").make(0.0)
    before, after, _ = placements("mlp")
    train_state = init_train_state(model, OPTIMIZER, 7, placement=before)
    save_checkpoint(tmp_path / "saved", train_state)
    for placement in (after, None):
        like = init_train_state(model, OPTIMIZER, 0, placement=placement)
        read = load_checkpoint(tmp_path / "saved", like=like)
        chex.assert_trees_all_equal(jax.device_get(read), jax.device_get(train_state))
        assert read.params["fc1"]["kernel"].sharding == like.params["fc1"]["kernel"].sharding
