"""The first training step of a program is found, whichever way the program runs it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, models, sharding, training
from jaxnets.data import make_buckets
from jaxnets.plan.alternatives import half_batch
from jaxnets.plan.memory import stored_for_backward
from jaxnets.plan.plan_step import Training
from jaxnets.plan.program import find_training, load_program

MODEL = models.mlp(models.MLPConfig((6, 5, 3)))
LOSS = training.supervised(MODEL, losses.cross_entropy)
OPTIMIZER = optax.sgd(0.1)
DATA = np.zeros((40, 6), np.float32), np.zeros(40, np.int32)


def start():
    return training.init_train_state(MODEL, OPTIMIZER, 0)


def step():
    return training.make_step(LOSS, OPTIMIZER)


def by_fit():
    training.fit(start(), step(), DATA, epochs=3, batch_size=8)


def by_compile_step():
    training.compile_step(training.scan_steps(step()))(start(), jax.tree.map(lambda x: x[None, :8], DATA))


def by_jit_of_many():
    many = jax.vmap(training.scan_data(step(), steps=2, batch_size=8), in_axes=(0, None))
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start())
    jax.jit(many)(states, DATA)


def by_a_map_of_epochs():
    """A compiled function of one argument."""
    epoch = training.scan_data(step(), steps=5, batch_size=8)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start())
    training.compile_step(lambda states: jax.lax.map(lambda state: epoch(state, DATA), states))(states)


def by_a_loop():
    try:
        step()(start(), jax.tree.map(lambda x: x[:8], DATA))
    except Exception:
        pytest.fail("a program cannot go on after its first step")


def returned():
    return step(), jax.eval_shape(start), jax.tree.map(lambda x: jax.ShapeDtypeStruct((8, *x.shape[1:]), x.dtype), DATA)


@pytest.mark.parametrize("program", [by_fit, by_compile_step, by_jit_of_many, by_a_map_of_epochs, by_a_loop, returned])
def test_the_step_its_state_and_its_batch(program):
    found = find_training(program)
    assert [leaf.shape for leaf in found.batch] == [(8, 6), (8,)]
    assert jax.tree.map(jnp.shape, found.train_state.params) == jax.tree.map(jnp.shape, start().params)
    assert found.step.optimizer is OPTIMIZER
    assert found.model.spec is MODEL.spec


def test_fit_tells_the_length_of_the_run_and_its_data():
    found = find_training(by_fit)
    assert found.steps == 3 * 5
    assert found.data_bytes == 40 * 6 * 4 + 40 * 4


def test_a_step_of_its_own_is_found():
    def own(train_state, batch):
        return train_state._replace(step=train_state.step + 1), {}

    found = find_training(lambda: training.scan_data(own, steps=2, batch_size=4)(start(), DATA))
    assert found.step is own
    assert [leaf.shape for leaf in found.batch] == [(4, 6), (4,)]


def test_buckets_are_planned_with_all_their_lengths():
    def loss(params, state, batch, *, key, train):
        return jnp.mean(params * batch["text_lengths"]), (state, {})

    buckets = make_buckets({"text": [np.zeros(n, int) for n in (2, 3, 7)]}, lengths=[4, 8], batch_size=1)
    initial = training.TrainState.create(jnp.zeros(()), optax.sgd(0.1).init(jnp.zeros(())), seed=0)
    bucket_step = training.bucket_step(training.make_step(loss, optax.sgd(0.1)))
    found = find_training(
        lambda: training.fit(initial, bucket_step, buckets.places, constants=buckets.groups, batch_size=1, epochs=1)
    )
    assert [leaf.shape[-1] for leaf in (group["text"] for group in found.constants)] == [4, 8]


def test_remat_is_set_in_the_configs_of_models():
    def program():
        gpt = models.gpt(models.GPTConfig(vocabulary=5, context=4, layers=1, heads=1, features=2))
        ids = np.zeros((8, 4), np.int32)
        loss = training.supervised(gpt, losses.cross_entropy)
        training.make_step(loss, OPTIMIZER)(training.init_train_state(gpt, OPTIMIZER, 0), (ids, ids))

    assert [find_training(program, remat=remat).model.config.remat for remat in (False, True)] == [False, True]


def test_a_step_that_a_program_divided_is_divided_anew():
    mesh = sharding.make_mesh({"data": 8})
    placement = sharding.place(MODEL, mesh, {})

    def program():
        divided = training.make_step(LOSS, OPTIMIZER, placement=placement)
        training.fit(start(), divided, DATA, epochs=1, batch_size=8)

    found = find_training(program)
    assert found.step.on_mesh(placement=None)(start(), jax.tree.map(lambda x: x[:8], DATA))[0].step == 1


def test_half_a_batch_makes_twice_the_steps():
    found = find_training(by_fit)
    half = half_batch(found, 4)
    assert ([leaf.shape for leaf in half.batch], half.steps) == ([(4, 6), (4,)], 30)
    assert half_batch(half, 4) is None


def test_what_the_backward_pass_reads_of_an_mlp():
    batch = jax.tree.map(lambda x: x[:8], DATA)
    stored = stored_for_backward(LOSS, start(), batch, None)
    # at least the input, the hidden layer and the probabilities; at most a few arrays of each size
    assert 4 * 8 * (6 + 5 + 3) <= stored <= 4 * 4 * 8 * (6 + 5 + 3)


def test_a_program_without_a_step_is_refused():
    with pytest.raises(ValueError, match=r"without a training step .* returns \(step, train_state, batch\)"):
        find_training(lambda: None)


def test_missing_data_are_named():
    def program():
        raise FileNotFoundError("there is no cifar10.npz")

    with pytest.raises(ValueError, match=r"there is no cifar10.npz\n.*JAXNETS_DATA"):
        find_training(program)


def test_a_program_is_named_by_its_module_and_function(tmp_path, monkeypatch):
    (tmp_path / "my_module.py").write_text("def build(steps=1, *rest):\n    return steps\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert load_program("my_module:build")() == 1
    for name, message in (
        ("my_module:bild", "no function 'bild'"),
        ("json:dump", "json:dump is called without arguments, but: missing a required argument: 'obj'"),
        ("my_module", "no experiment: it has no Config"),
        ("no_module", "no experiment or module 'no_module'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_program(name)


def test_a_training_is_returned_as_it_is():
    given = Training(*returned())
    assert find_training(lambda: given) is given
