"""The TensorFlow Playground's networks and how it trains them, as pure functions.

What differs from the usual, as in its source (github.com/tensorflow/playground): the loss is (output - label)^2 / 2,
classifiers end in tanh, weights are initialized from U(-1/2, 1/2) and biases to 0.1, the order of the examples stays
that of the first epoch, and a weight that L1 carries across 0 is 0 from then on. One thing is left out: where the batch
size does not divide the examples, the Playground keeps the rest for the next epoch's first batch, and here it is not
used.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support.many import stack
from jaxnets import Model, make_model
from jaxnets.config import PositiveFloat, PositiveInt
from jaxnets.data import DataSet, playground
from jaxnets.data.playground import REGRESSION, Name
from jaxnets.models import MLPConfig, mlp
from jaxnets.regularizers import decay_mask
from jaxnets.training import init_train_state, make_step, scan_steps, steps_per_epoch, supervised

ACTIVATIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid", "linear": "identity"}
"""Our names of the Playground's."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one can set in the Playground."""

    data: Name = "circle"
    """The set: four of classification; plane and multi-gauss are regression."""
    features: tuple[str, ...] = ("x1", "x2")
    """The inputs, some of x1 x2 x1^2 x2^2 x1*x2 sin(x1) sin(x2)."""
    hidden: tuple[int, ...] = (3,)
    """Neurons of each hidden layer; none for a single neuron."""
    activation: Literal["tanh", "relu", "sigmoid", "linear"] = "sigmoid"
    """Of the hidden layers."""
    regularization: Literal["none", "l1", "l2"] = "none"
    """What is added to the loss: rate |w| or rate w^2 / 2, of weights and not of biases."""
    regularization_rate: float = 0.0
    """Its rate."""
    noise: float = 0.0
    """Of the data, from 0 to 0.5."""
    batch_size: PositiveInt = 10
    """Examples per step."""
    learning_rate: PositiveFloat = 0.03
    """Of plain gradient descent."""
    train_share: float = 0.5
    """Share of the examples to train on; the others are the test split."""
    epochs: PositiveInt = 1000
    """How often a network sees every training example."""

    @property
    def classifies(self) -> bool:
        """Whether the labels are -1 and 1."""
        return self.data not in REGRESSION


def make_data(setting: Setting, seed: int) -> DataSet:
    """Draw the points, their labels and the split."""
    return playground(setting.data, seed, noise=setting.noise, features=setting.features, train=setting.train_share)


def make_network(setting: Setting) -> Model:
    """The network: one output per point, in (-1, 1) for a classifier."""

    def uniform(key: Any, shape: Any, dtype: Any) -> Any:
        return jax.random.uniform(key, shape, dtype, -0.5, 0.5)

    def with_bias(array: Any) -> Any:
        is_bias = len(array.shape) == 1
        return dataclasses.replace(array, initializer=jax.nn.initializers.constant(0.1)) if is_bias else array

    sizes = (len(setting.features), *setting.hidden, 1)
    network = mlp(MLPConfig(sizes, activation=ACTIVATIONS[setting.activation]), kernel_init=uniform)

    def apply(params: Any, state: Any, x: Any, *, key: Any = None, train: bool) -> Any:
        y, state = network.apply(params, state, x, key=key, train=train)
        return jnp.tanh(y[:, 0]) if setting.classifies else y[:, 0], state

    return make_model(jax.tree.map(with_bias, network.spec), apply)


def shrink_l1(amount: float) -> optax.GradientTransformation:
    """Carry each weight on by `amount` towards 0; one that would cross 0 thereby is 0, and stays 0."""

    def shrink(updates: Any, params: Any) -> Any:
        def of_weight(update: Any, weight: Any) -> Any:
            moved = weight + update
            shrunk = moved - amount * jnp.sign(weight)
            dead = (weight == 0) | (moved * shrunk < 0)
            return jnp.where(dead, 0, shrunk) - weight

        return jax.tree.map(of_weight, updates, params)

    return optax.stateless(shrink)


def make_optimizer(setting: Setting, regularization_rate: Any) -> optax.GradientTransformation:
    """Plain gradient descent on the loss and the regularization, whose rate may be traced."""
    descent = optax.sgd(setting.learning_rate)
    if setting.regularization == "l2":
        return optax.chain(optax.add_decayed_weights(regularization_rate, mask=decay_mask), descent)
    if setting.regularization == "l1":
        shrink = shrink_l1(setting.learning_rate * regularization_rate)
        return optax.chain(descent, optax.masked(shrink, decay_mask))
    return descent


def make_trainer(setting: Setting) -> Callable[..., dict[str, Any]]:
    """Make `train(seed, train, test, regularization_rate) -> history`, to be compiled and vmapped.

    The history has `params` and, for both splits, the loss as the Playground shows it (without regularization) and the
    accuracy of a classifier, each with the epochs 0 to `setting.epochs` as first axis.
    """
    network = make_network(setting)
    loss = supervised(network, optax.l2_loss)

    def measure(params: Any, split: Any) -> dict[str, Any]:
        inputs, labels = split
        outputs, _ = network.apply(params, {}, inputs, train=False)
        measured = {"loss": jnp.mean(optax.l2_loss(outputs, labels))}
        if setting.classifies:
            measured["accuracy"] = jnp.mean((outputs > 0) == (labels > 0))
        return measured

    def train(seed: Any, train_split: Any, test_split: Any, regularization_rate: Any) -> dict[str, Any]:
        optimizer = make_optimizer(setting, regularization_rate)
        steps = scan_steps(make_step(loss, optimizer))
        per_epoch = steps_per_epoch(len(train_split[0]), setting.batch_size)
        shape = per_epoch, setting.batch_size
        batches = jax.tree.map(
            lambda array: array[: per_epoch * setting.batch_size].reshape(*shape, *array.shape[1:]), train_split
        )

        def record(state: Any) -> dict[str, Any]:
            losses = {"train": measure(state.params, train_split), "test": measure(state.params, test_split)}
            return {"params": state.params, **losses}

        def epoch(state: Any, _: None) -> Any:
            state, _ = steps(state, batches)
            return state, record(state)

        initial = init_train_state(network, optimizer, seed)
        _, history = jax.lax.scan(epoch, initial, None, length=setting.epochs)
        whole: dict[str, Any] = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), record(initial), history)
        return whole

    return train


@functools.cache
def _compiled(setting: Setting) -> Any:
    return jax.jit(jax.vmap(make_trainer(setting), in_axes=(0, 0, 0, None)))


def train_draws(setting: Setting, seeds: Iterable[int]) -> dict[str, Any]:
    """Train a network for each seed, each on points of its own, at once.

    Returns:
        The history of `make_trainer`, as NumPy's arrays `[seeds, epochs + 1, ...]`.
    """
    numbers = np.array(list(seeds), np.uint32)
    sets = [make_data(setting, int(number)) for number in numbers]
    program = _compiled(dataclasses.replace(setting, noise=0.0, regularization_rate=0.0))  # which it does not hold
    train, test = stack([data.train for data in sets]), stack([data.test for data in sets])
    history: dict[str, Any] = jax.device_get(program(numbers, train, test, setting.regularization_rate))
    return history
