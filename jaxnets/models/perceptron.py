"""Rosenblatt's perceptron, and the rule by which it learns."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.layer import names_errors
from jaxnets.model import Model
from jaxnets.nn.check import check_floating
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State


@dataclasses.dataclass(frozen=True)
class PerceptronConfig(ModelConfig):
    """The settings of `perceptron`.

    Attributes:
        features: how many inputs it has. There is no bias: a threshold is the weight of one more input that is always
            1, so that the rule needs no case for it.
    """

    features: PositiveInt


def _spec(config: PerceptronConfig, kernel_init: Initializer) -> Spec:
    """`kernel` `[features, 1]`."""
    return nn.linear_spec(config.features, 1, bias=False, kernel_init=kernel_init)


def _apply(
    config: PerceptronConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    return _decide(params, x), state


def _decide(params: Params, x: Array) -> Array:
    """[<w, x> >= 0], which is 1 or 0."""
    return (nn.linear(params, x)[..., 0] >= 0).astype(jnp.result_type(x))


def perceptron(config: PerceptronConfig, *, kernel_init: Initializer = jax.nn.initializers.normal(1.0)) -> Model:
    """Make a perceptron: $y = [w . x >= 0]$.

    Args:
        config: the settings.
        kernel_init: initializes the weights, by default at random; proofs begin with `jax.nn.initializers.zeros`.

    Returns:
        A model from `[..., features]`, floating point, to zeros and ones `[...]` of that dtype. Its gradient is 0: it
        learns by `perceptron_rule`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = perceptron(PerceptronConfig(features=2))
        >>> params = {"kernel": jnp.array([[2.0], [-1.0]])}
        >>> model.apply(params, {}, jnp.array([[1.0, 1.0], [0.0, 1.0], [1.0, 2.0]]), train=False)[0]
        Array([1., 0., 1.], dtype=float32)

    Reference:
        Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958.

    Warning:
        A sum of exactly 0 counts as 1, because the rule leaves it alone for examples of label 1 and corrects it for
        those of label 0. `threshold_neuron` gives 0 there.
    """
    return build_model(config, PerceptronConfig, functools.partial(_spec, kernel_init=kernel_init), _apply)


@names_errors
def perceptron_rule(params: Params, x: Array, label: Array) -> tuple[Params, Array]:
    """Correct the weights by one example: $w + (label - y) x$ with $y = [w . x >= 0]$.

    That is, add x if the label is 1 and <w, x> < 0, subtract x if the label is 0 and <w, x> >= 0, and else nothing.

    Args:
        params: of a `perceptron`.
        x: `[features]`, floating point.
        label: a number, 0 or 1.

    Returns:
        The parameters, and a bool: whether they were corrected.

    Raises:
        ValueError: if `x` does not fit the kernel or is not a single example.
        TypeError: if `x` is not floating point.

    Example:
        >>> params, corrected = perceptron_rule({"kernel": jnp.array([[1.0], [0.0]])}, jnp.array([2.0, 1.0]), 0)
        >>> params["kernel"].ravel(), corrected
        (Array([-1., -1.], dtype=float32), Array(True, dtype=bool))

    Reference:
        Rosenblatt, Principles of neurodynamics, 1962.

    Warning:
        scikit-learn's `Perceptron` corrects both classes at a sum of exactly 0, and has a learning rate, which from
        weights of 0 changes nothing but their scale.
    """
    _check_example(x)
    direction = jnp.asarray(label, jnp.result_type(x)) - _decide(params, x)
    return {"kernel": params["kernel"] + direction * x[:, None]}, direction != 0


def _check_example(x: Array) -> None:
    check_floating(x)
    if x.ndim != 1:
        raise ValueError(f"x must be one example [features], got {list(x.shape)}; take a row of it")


class LearnedPerceptron(NamedTuple):
    """What `perceptron_fit` comes to.

    Attributes:
        params: the parameters at the end.
        picks: how many examples were picked, int32.
        mistakes: how many of them were wrong, so that the weights were corrected, int32.
        converged: whether all examples are right.
    """

    params: Params
    picks: Array
    mistakes: Array
    converged: Array


@names_errors
def perceptron_fit(params: Params, x: Array, labels: Array, *, key: Key, max_picks: int) -> LearnedPerceptron:
    """Pick examples at random and correct the weights by each, until all are right.

    If a hyperplane through the origin separates the classes by `margin` and no example is longer than `radius`, then
    from weights of 0 there are at most $(radius / margin)^2$ mistakes. Else mistakes never end, while the weights stay
    bounded. All orders at once: `jax.vmap(functools.partial(perceptron_fit, ...))` over keys.

    Args:
        params: of a `perceptron`.
        x: `[examples, features]`, floating point.
        labels: `[examples]`, 0 or 1.
        key: of the picks; pick n depends on the key and n alone.
        max_picks: after how many picks to give up.

    Returns:
        The parameters, the number of picks and of mistakes, and whether all examples are right.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> x = jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
        >>> logical_or = jnp.array([0, 1, 1, 1])
        >>> start = {"kernel": jnp.zeros((3, 1))}
        >>> learned = perceptron_fit(start, x, logical_or, key=jax.random.key(0), max_picks=1000)
        >>> perceptron(PerceptronConfig(3)).apply(learned.params, {}, x, train=False)[0], bool(learned.converged)
        (Array([0., 1., 1., 1.], dtype=float32), True)

    Reference:
        Novikoff, On convergence proofs on perceptrons, 1962 (the bound); Block and Levin, On the boundedness of an
        iterative procedure for solving a system of linear inequalities, 1970 (the weights stay bounded).
    """
    x, labels = _examples(x, labels)

    def all_right(params: Params) -> Array:
        return jnp.all(_decide(params, x) == labels)

    def goes_on(learned: LearnedPerceptron) -> Array:
        return ~learned.converged & (learned.picks < max_picks)

    def pick(learned: LearnedPerceptron) -> LearnedPerceptron:
        row = _pick(key, learned.picks, len(x))
        params, corrected = perceptron_rule(learned.params, x[row], labels[row])
        mistakes = learned.mistakes + corrected.astype(jnp.int32)
        return LearnedPerceptron(params, learned.picks + 1, mistakes, all_right(params))

    none = jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(goes_on, pick, LearnedPerceptron(params, none, none, all_right(params)))


@names_errors
def perceptron_path(params: Params, x: Array, labels: Array, *, key: Key, picks: int) -> tuple[Params, Array]:
    """Pick examples at random a fixed number of times, and keep the weights after each pick.

    Args:
        params: of a `perceptron`.
        x: `[examples, features]`, floating point.
        labels: `[examples]`, 0 or 1.
        key: of the picks, the same as those of `perceptron_fit`.
        picks: how many.

    Returns:
        The parameters after each pick, with a new first axis `[picks, ...]`, and bools `[picks]`: which were mistakes.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> x, labels = jnp.array([[1.0], [-1.0]]), jnp.array([1, 0])
        >>> start = {"kernel": jnp.array([[-1.5]])}
        >>> params, mistakes = perceptron_path(start, x, labels, key=jax.random.key(0), picks=4)
        >>> params["kernel"].ravel(), mistakes
        (Array([-0.5,  0.5,  0.5,  0.5], dtype=float32), Array([ True,  True, False, False], dtype=bool))

    Reference:
        Rosenblatt, Principles of neurodynamics, 1962.
    """
    x, labels = _examples(x, labels)

    def pick(params: Params, number: Array) -> tuple[Params, tuple[Params, Array]]:
        row = _pick(key, number, len(x))
        params, corrected = perceptron_rule(params, x[row], labels[row])
        return params, (params, corrected)

    _, path = jax.lax.scan(pick, params, jnp.arange(picks))
    return path


def _pick(key: Key, number: Array, examples: int) -> Array:
    return jax.random.randint(subkey(key, number), (), 0, examples)


def _examples(x: Array, labels: Array) -> tuple[Array, Array]:
    check_floating(x)
    if x.ndim != 2 or jnp.shape(labels) != x.shape[:1]:
        raise ValueError(
            f"x must be [examples, features] and labels [examples], got {list(x.shape)} and {list(jnp.shape(labels))}"
        )
    x = jnp.asarray(x)
    return x, jnp.asarray(labels, jnp.result_type(x))
