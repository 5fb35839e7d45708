"""The Playground's networks and how it trains them, as pure functions.

What differs from the usual, as in its source (github.com/tensorflow/playground): the loss is (output - label)^2 / 2,
classifiers end in tanh, weights are initialized from U(-1/2, 1/2) and biases to 0.1, the order of the examples stays
that of the first epoch, and a weight that L1 carries across 0 is 0 from then on. One thing is left out: where the batch
size does not divide the examples, the Playground keeps the rest for the next epoch's first batch, and here it is not
used.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxnets import metrics, nn
from jaxnets.config import ACTIVATIONS as FUNCTIONS
from jaxnets.data import DataSet, playground
from jaxnets.data.playground import Name
from jaxnets.model import Model, make_model
from jaxnets.playground.settings import ACTIVATIONS, PlaygroundSettings
from jaxnets.regularizers import decay_mask
from jaxnets.spec import Spec
from jaxnets.training import (
    Loss,
    TrainState,
    init_train_state,
    make_step,
    scan_data,
    scan_steps,
    steps_per_epoch,
    supervised,
)
from jaxnets.types import Array, Params


def make_data(settings: PlaygroundSettings, seed: int) -> DataSet:
    """Draw the points, their labels and the split."""
    name = cast(Name, settings.data)
    return playground(name, seed, noise=settings.noise, features=settings.features, train=settings.train_share)


def make_network(settings: PlaygroundSettings) -> Model:
    """Make the network: one output per point, in (-1, 1) for a classifier.

    Args:
        settings: of which `features`, `hidden`, `activation` and the kind of the data set count.

    Returns:
        A model from `[batch, features]` to `[batch]`.

    Example:
        >>> from jaxnets import count_parameters
        >>> from jaxnets.playground import PlaygroundSettings
        >>> count_parameters(make_network(PlaygroundSettings(hidden=(4, 2))).spec)
        25

    Reference:
        Smilkov, Carter, Sculley, Viegas and Wattenberg, Direct-manipulation visualization of deep networks, 2016.
    """

    def apply(params: Any, state: Any, x: Any, *, key: Any = None, train: bool) -> Any:
        return layer_outputs(settings, params, x)[-1][:, 0], state

    return make_model(_spec(settings.sizes), apply)


def _spec(sizes: tuple[int, ...]) -> Spec:
    def uniform(key: Any, shape: Any, dtype: Any) -> Any:
        return jax.random.uniform(key, shape, dtype, -0.5, 0.5)

    tenths = jax.nn.initializers.constant(0.1)
    layers = [nn.linear_spec(*pair, kernel_init=uniform, bias_init=tenths) for pair in itertools.pairwise(sizes)]
    return {"layers": [{"linear": layer} for layer in layers]}


def layer_outputs(settings: PlaygroundSettings, params: Params, x: Array) -> list[Array]:
    """What every layer says of `[points, features]`: `[points, neurons]` each, the last one `[points, 1]`."""
    activation = FUNCTIONS[ACTIVATIONS[settings.activation]]
    last = jnp.tanh if settings.classifies else nn.identity
    *hidden, output = params["layers"]
    outputs = []
    for layer in hidden:
        x = activation(nn.linear(layer["linear"], x))
        outputs.append(x)
    return [*outputs, last(nn.linear(output["linear"], x))]


def shrink_l1(learning_rate: float | Array, rate: float | Array) -> optax.GradientTransformation:
    """Carry each weight on by learning_rate * rate towards 0; one that would cross 0 thereby is 0, and stays 0.

    Args:
        learning_rate: of the optimizer before it.
        rate: of the regularization, rate |w|.

    Returns:
        A transformation for the end of `optax.chain`; `optax.masked` restricts it to weights.

    Example:
        >>> optimizer = optax.chain(optax.sgd(0.5), shrink_l1(0.5, 0.5))
        >>> weights, gradient = jnp.array([2.0, 0.125]), jnp.array([1.0, 0.0])
        >>> updates, _ = optimizer.update(gradient, optimizer.init(weights), weights)
        >>> optax.apply_updates(weights, updates)
        Array([1.25, 0.  ], dtype=float32)

    Reference:
        The source of the Playground, github.com/tensorflow/playground, nn.ts.
    """

    def shrink(updates: Any, params: Any) -> Any:
        def of_weight(update: Any, weight: Any) -> Any:
            amount = jnp.asarray(learning_rate, weight.dtype) * jnp.asarray(rate, weight.dtype)
            moved = weight + update
            shrunk = moved - amount * jnp.sign(weight)
            dead = (weight == 0) | (moved * shrunk < 0)
            return jnp.where(dead, 0, shrunk) - weight

        return jax.tree.map(of_weight, updates, params)

    return optax.stateless(shrink)


def make_optimizer(settings: PlaygroundSettings) -> optax.GradientTransformation:
    """Plain gradient descent on the loss and the regularization; both rates may be traced."""
    descent, rate = optax.sgd(settings.learning_rate), settings.regularization_rate
    if settings.regularization == "l2":
        return optax.chain(optax.add_decayed_weights(rate, mask=decay_mask), descent)
    if settings.regularization == "l1":
        return optax.chain(descent, optax.masked(shrink_l1(settings.learning_rate, rate), decay_mask))
    return descent


def make_loss(settings: PlaygroundSettings) -> Loss:
    """The loss as the Playground shows it, without regularization; for a classifier the accuracy beside it."""

    def accuracy(outputs: Array, labels: Array) -> metrics.Mean:
        return metrics.mean((outputs > 0) == (labels > 0))

    return supervised(make_network(settings), optax.l2_loss, {"accuracy": accuracy} if settings.classifies else None)


def make_epoch(settings: PlaygroundSettings) -> Callable[..., tuple[TrainState, Any]]:
    """Make `epoch(train_state, data, learning_rate, regularization_rate) -> (train_state, metrics)`, to be compiled.

    It takes every batch of the data set once, in order. Both rates are arguments, so that another one needs no other
    program.
    """
    loss, examples = make_loss(settings), settings.train_examples

    def epoch(train_state: TrainState, data: Any, learning_rate: Any, rate: Any) -> tuple[TrainState, Any]:
        traced = dataclasses.replace(settings, learning_rate=learning_rate, regularization_rate=rate)
        step = make_step(loss, make_optimizer(traced))
        steps = steps_per_epoch(examples, settings.batch_size)
        return scan_data(step, steps=steps, batch_size=settings.batch_size, shuffle=False)(train_state, data)

    return epoch


def make_trainer(settings: PlaygroundSettings) -> Callable[..., dict[str, Any]]:
    """Make `train(seed, train, test, regularization_rate) -> history`, to be compiled and vmapped.

    The history has `params` and, for both splits, the loss as the Playground shows it (without regularization) and the
    accuracy of a classifier, each with the epochs 0 to `settings.epochs` as first axis.
    """
    network = make_network(settings)
    loss = supervised(network, optax.l2_loss)

    def measure(params: Any, split: Any) -> dict[str, Any]:
        inputs, labels = split
        outputs, _ = network.apply(params, {}, inputs, train=False)
        measured = {"loss": jnp.mean(optax.l2_loss(outputs, labels))}
        if settings.classifies:
            measured["accuracy"] = jnp.mean((outputs > 0) == (labels > 0))
        return measured

    def train(seed: Any, train_split: Any, test_split: Any, regularization_rate: Any) -> dict[str, Any]:
        optimizer = make_optimizer(dataclasses.replace(settings, regularization_rate=regularization_rate))
        steps = scan_steps(make_step(loss, optimizer))
        per_epoch = steps_per_epoch(len(train_split[0]), settings.batch_size)
        shape = per_epoch, settings.batch_size
        batches = jax.tree.map(
            lambda array: array[: per_epoch * settings.batch_size].reshape(*shape, *array.shape[1:]), train_split
        )

        def record(state: Any) -> dict[str, Any]:
            losses = {"train": measure(state.params, train_split), "test": measure(state.params, test_split)}
            return {"params": state.params, **losses}

        def epoch(state: Any, _: None) -> Any:
            state, _ = steps(state, batches)
            return state, record(state)

        initial = init_train_state(network, optimizer, seed)
        _, history = jax.lax.scan(epoch, initial, None, length=settings.epochs)
        whole: dict[str, Any] = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), record(initial), history)
        return whole

    return train
