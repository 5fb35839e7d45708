"""A run goes on with the optimizer that it began with, wherever that keeps its settings."""

import functools

import optax
import pytest

from jaxnets.training import Checkpoints, fit, init_train_state, make_step, with_ema, with_loss_scale
from jaxnets.training.settings import describe_optimizer, different
from tests.oracles import permissive_optimizer
from tests.training.problem import LOSS, MODEL, data

DATA = data()
injected = functools.partial(optax.inject_hyperparams, optax.sgd)()


class Constant:
    """A schedule that is an object."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate

    def of(self, step):
        """The same as a method."""
        return self.rate


def with_default(rate):
    def schedule(step, rate=rate):
        return rate

    return schedule


def with_keyword(rate):
    def schedule(step, *, rate=rate):
        return rate

    return schedule


def described(optimizer):
    return {"optimizer": describe_optimizer(make_step(LOSS, optimizer))}


@pytest.mark.parametrize(
    ("make", "first", "second", "named"),
    [
        (lambda rate: injected(learning_rate=rate), 0.1, 0.2, {"learning_rate": ("0.1", "0.2")}),
        (
            lambda rate: injected(learning_rate=optax.cosine_decay_schedule(rate, 9)),
            0.1,
            0.2,
            {"init_value": ("0.1", "0.2")},
        ),
        (lambda every: optax.MultiSteps(optax.sgd(0.1), every), 2, 4, {"every_k_schedule": ("2", "4")}),
        (lambda rate: optax.MultiSteps(optax.sgd(rate), 2), 0.1, 0.2, {"step_size": ("-0.1", "-0.2")}),
        (
            lambda every: optax.MultiSteps(optax.sgd(0.1), every).gradient_transformation(),
            2,
            4,
            {"every_k_schedule": ("2", "4")},
        ),
        (lambda every: with_ema(optax.MultiSteps(optax.sgd(0.1), every), 0.9), 2, 4, {"every_k_schedule": ("2", "4")}),
        (lambda rate: optax.sgd(Constant(rate)), 0.1, 0.2, {"rate": ("0.1", "0.2")}),
        (lambda rate: optax.sgd(Constant(rate).of), 0.1, 0.2, {"rate": ("0.1", "0.2")}),
        (lambda rate: optax.sgd(with_default(rate)), 0.1, 0.2, {"rate": ("0.1", "0.2")}),
        (lambda rate: optax.sgd(with_keyword(rate)), 0.1, 0.2, {"rate": ("0.1", "0.2")}),
        (lambda seed: optax.add_noise(0.1, 0.5, key=seed), 1, 2, {"key": ("1", "2")}),
        (lambda scale: with_loss_scale(optax.sgd(0.1), initial=scale), 2.0, 4.0, {"initial": ("2.0", "4.0")}),
    ],
)
def test_another_setting_is_found_by_its_name(make, first, second, named):
    assert different(described(make(first)), described(make(first))) == {}
    assert different(described(make(first)), described(make(second))) == named


def test_other_code_of_a_schedule_is_found():
    def tenth(step):
        return 0.1

    def fifth(step):
        return 0.2

    fifth.__qualname__ = tenth.__qualname__
    (found,) = different(described(optax.sgd(tenth)), described(optax.sgd(fifth)))
    assert found == f"code of {tenth.__qualname__}"


def test_code_that_another_python_compiled_is_not_compared():
    def schedule(step):
        return 0.1

    there, given = described(optax.sgd(schedule))["optimizer"], described(optax.sgd(schedule))["optimizer"]
    (code,) = (name for name in given if "/code of " in name)
    there = {**there, code: "0" * 8}
    assert different({"optimizer": there}, {"optimizer": given})
    assert not different({"optimizer": {**there, "version of Python": "3.8"}}, {"optimizer": given})
    assert different({"optimizer": {**there, "version of Python": "3.8", "/update": "another"}}, {"optimizer": given})


def test_a_run_with_an_injected_rate_does_not_go_on_with_another(tmp_path):
    def train(rate, epochs):
        optimizer = permissive_optimizer(injected(learning_rate=rate))
        begin, step = init_train_state(MODEL, optimizer, 0), make_step(LOSS, optimizer)
        return fit(begin, step, DATA, epochs=epochs, batch_size=16, checkpoints=Checkpoints(tmp_path, best=None))

    train(0.1, 1)
    with pytest.raises(ValueError, match=r"holds a run with learning_rate 0\.1, not 0\.2"):
        train(0.2, 2)
    assert int(train(0.1, 2).train_state.step) == 6
