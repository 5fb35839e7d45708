"""Twenty steps of four networks, wherever and however they run, are those of one device.

Tolerance: sums over devices are rounded in another order, a few units of float32's last place a step, which twenty
steps with AdamW (epsilon 0.01) let grow to at most the 1e-5 allowed here, of parameters around 0.1. Two runs of one
mode have the same bits.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxnets.training import compile_step, init_train_state, pmap_step, scan_steps
from jaxnets.tree import tree_bytes
from tests.forms import needs_devices
from tests.training.networks import OPTIMIZER, STEPS, batches_of, by_name, placement_of, step_of

pytestmark = needs_devices(8)
RATE = 0.25
MODES = ["scan", "vmap", "pmap", "data", "fsdp", "tensor", "mixed"]


def start(name, mode, seed=0):
    return init_train_state(by_name(name).make(RATE), OPTIMIZER, seed, placement=placement_of(name, mode))


def in_a_loop(step, train_state, batches):
    for i in range(STEPS):
        train_state, _ = step(train_state, jax.tree.map(lambda leaf, i=i: leaf[i], batches))
    return train_state


def settings_of(name, mode):
    """Under pmap each device drops by itself, and accumulated parts have other examples, which batch norm sees."""
    if mode != "pmap":
        return {"rate": RATE}
    return {"rate": 0.0, "accumulate": 1} if name == "cnn" else {"rate": 0.0}


@functools.cache
def one_device(name, rate, accumulate=2):
    step = compile_step(step_of(name, rate, accumulate=accumulate))
    return jax.device_get(in_a_loop(step, start(name, "single"), batches_of(name)))


def runner(name, mode):
    """A function that trains a fresh train state."""
    step, batches = step_of(name, mode=mode, **settings_of(name, mode)), batches_of(name)
    if mode == "scan":
        compiled = compile_step(scan_steps(step))
        return lambda: compiled(start(name, mode), batches)[0]
    if mode == "vmap":
        compiled = compile_step(jax.vmap(step, in_axes=(0, None)))
        seeds = [start(name, mode, seed) for seed in (0, 1)]
        many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
        return lambda: jax.tree.map(lambda leaf: leaf[0], in_a_loop(compiled, jax.tree.map(jnp.copy, many), batches))
    compiled = pmap_step(step) if mode == "pmap" else compile_step(step)
    return lambda: in_a_loop(compiled, start(name, mode), batches)


def check(name, mode):
    train = runner(name, mode)
    result, again = train(), train()
    expected = one_device(name, **settings_of(name, mode))
    chex.assert_trees_all_close(jax.device_get(result), expected, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(jax.device_get(result), jax.device_get(again))
    if mode in ("fsdp", "mixed"):
        held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(result))
        assert held < {"mlp": 0.2, "cnn": 0.3, "lstm": 0.2, "gpt": 0.2}[name] * tree_bytes(expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_perceptron(mode):
    check("mlp", mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["cnn", "lstm", "gpt"])
def test_other_networks(name, mode):
    check(name, mode)
