"""What is tried where a step does not fit, with a compiler that only counts."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from jaxnets import losses, models, sharding, training
from jaxnets.plan import Plan, alternatives as module
from jaxnets.plan.memory import Memory
from jaxnets.plan.plan_step import Training

GIB = 2**30
OPTIMIZER = optax.sgd(0.1)


def load(remat):
    gpt = models.gpt(models.GPTConfig(vocabulary=4, context=4, layers=1, heads=1, features=4, remat=remat))
    step = training.make_step(training.supervised(gpt, losses.cross_entropy), OPTIMIZER)
    ids = np.zeros((64, 4), np.int32)
    state = jax.eval_shape(lambda: training.init_train_state(gpt, OPTIMIZER, 0))
    return Training(step, state, (ids, ids), model=gpt)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"state": 40, "remat": 0.5, "example": 1 / 8}, ["with FSDP"]),
        ({"state": 40, "remat": 0.5, "example": 3 / 8}, ["with FSDP", "with FSDP and remat"]),
        (
            {"state": 40, "remat": 1.2, "example": 3.6 / 8},
            ["with FSDP", "with FSDP and remat", "with FSDP and a batch of 32"],
        ),
    ],
)
def test_each_way_is_kept_if_it_helped_up_to_the_first_that_fits(costs, expected, monkeypatch):
    def plan_training(given, target, *, mesh=None, rules=None, price=None):
        batch = given.batch[0].shape[0]
        examples = batch * costs["example"] * (costs["remat"] if given.model.config.remat else 1)
        used = costs["state"] / (4 if rules else 1) * 0.1 + examples
        memory = Memory(0, 0, 0, 0, 0, int(used * GIB), None, 16 * GIB)
        return Plan("v5e:2x2", {"data": 4}, "", memory, 1, 1, 1, 0, 0.0, (), batch)

    monkeypatch.setattr(module, "plan_training", plan_training)
    too_large = dataclasses.replace(plan_training(load(False), "v5e:2x2"), batch=64)
    too_large = dataclasses.replace(too_large, memory=too_large.memory._replace(temporaries=99 * GIB))
    found = list(module.alternatives(load, too_large, mesh=None, rules=None))
    assert [words for words, _ in found] == expected
    assert [plan.fits for _, plan in found] == [False] * (len(expected) - 1) + [True]


def test_rules_that_were_asked_for_stay(monkeypatch):
    seen = []

    def plan_training(given, target, *, mesh=None, rules=None, price=None):
        seen.append(rules)
        memory = Memory(0, 0, 0, 0, 0, 1, None, 16 * GIB)
        return Plan("v5e:2x2", {"data": 4}, "", memory, 1, 1, 1, 0, 0.0, (), 64)

    monkeypatch.setattr(module, "plan_training", plan_training)
    given = plan_training(load(False), "v5e:2x2")
    assert [words for words, _ in module.alternatives(load, given, mesh=None, rules=sharding.TENSOR)] == ["with remat"]
    assert seen[1:] == [sharding.TENSOR]
