"""Plans that the real TPU compiler makes; it needs libtpu, but no TPU."""

import pytest

from experiments.__main__ import experiments
from tests.tpu_compiler import needs_tpu_compiler, on_the_tpu_compiler

pytestmark = [pytest.mark.slow, needs_tpu_compiler]

MLP = """
import json, jax, jax.numpy as jnp, optax
from jaxnets import losses, models, sharding
from jaxnets.plan import plan_step
from jaxnets.training import init_train_state, make_step, supervised

jax.config.update("jax_platforms", "cpu")
model, optimizer = models.mlp(models.MLPConfig((1024, 2048, 512))), optax.sgd(0.1)
train_state = jax.eval_shape(lambda: init_train_state(model, optimizer, 0))
batch = jax.ShapeDtypeStruct((256, 1024), jnp.float32), jax.ShapeDtypeStruct((256,), jnp.int32)
step = make_step(supervised(model, losses.cross_entropy), optimizer)
found = []
for rules in (None, sharding.FSDP):
    plan = plan_step(step, train_state, batch, target="v5e:2x2", rules=rules, model=model)
    found.append({
        "collectives": {one.kind: one.bytes for one in plan.collectives},
        "parameters": plan.memory.parameters,
        "flops": plan.flops,
        "text": str(plan),
    })
print(json.dumps(found))
"""


def test_what_an_mlp_keeps_and_moves():
    parameters = 4 * (1024 * 2048 + 2048 + 2048 * 512 + 512)  # bytes
    whole, divided = on_the_tpu_compiler("-c", MLP)
    assert whole["parameters"] == 4 * divided["parameters"] == parameters
    assert parameters <= whole["collectives"]["all-reduce"] < parameters + 1000  # the gradients, and a few metrics
    assert divided["collectives"]["all-gather"] > 0
    assert whole["flops"] == divided["flops"] == 3 * 2 * 256 * (1024 * 2048 + 2048 * 512)
    assert "optimal" not in whole["text"]


OPTIMIZED = ("shakespeare_gpt", "mnist_cnn", "mnist_gan")
"""A Transformer, a convolutional network, and one with two networks: the compiler takes minutes for some others."""
WITHOUT_STEP = {
    "backprop_by_hand": "works out one step on paper",
    "neuron_logic": "trains nothing",
    "perceptron_iris": "follows a rule without a gradient",
    "universal_approximation": "fits networks by L-BFGS, in a loop of its own",
}
OTHERS = sorted(experiments().keys() - WITHOUT_STEP.keys() - set(OPTIMIZED))
GROUPS = 6  # of experiments, for the processes that run tests side by side
QUICKLY = {"JAX_EXEC_TIME_OPTIMIZATION_EFFORT": "-1.0", "JAX_MEMORY_FITTING_EFFORT": "-1.0"}
"""The least effort of the compiler: a quarter of its time, for programs that are slower and take more memory."""


def check(found, names):
    assert set(found) == set(names)
    for name, planned in found.items():
        assert planned["fits"], name
        assert planned["cycles"] > 0, name
        assert planned["used"] > 4 * planned["parameters"], name


def test_steps_of_experiments_fit_the_tpu_of_colab():
    check(on_the_tpu_compiler("-m", "tests.plan.experiments_on_a_tpu", *OPTIMIZED), OPTIMIZED)


@pytest.mark.parametrize("first", range(GROUPS))
def test_steps_of_all_other_experiments_compile_for_it_and_fit(first):
    names = OTHERS[first::GROUPS]
    check(on_the_tpu_compiler("-m", "tests.plan.experiments_on_a_tpu", *names, **QUICKLY), names)
