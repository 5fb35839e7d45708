"""ADALINE, the adaptive linear neuron of Widrow and Hoff, and the delta rule by which it learns."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.layer import names_errors
from jaxnets.model import Model
from jaxnets.nn.check import check_floating
from jaxnets.spec import Spec
from jaxnets.types import Array, ArrayLike, Initializer, Key, Params, State


@dataclasses.dataclass(frozen=True)
class AdalineConfig(ModelConfig):
    """The settings of `adaline`.

    Attributes:
        features: how many inputs it has.
        bias: whether there is a bias; centered inputs and targets need none.
    """

    features: PositiveInt
    bias: bool = True


def _spec(config: AdalineConfig, kernel_init: Initializer) -> Spec:
    """`kernel` `[features, 1]` and, with a bias, `bias` `[1]`."""
    return nn.linear_spec(config.features, 1, bias=config.bias, kernel_init=kernel_init)


def _apply(
    config: AdalineConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    return nn.linear(params, x)[..., 0], state


def adaline(config: AdalineConfig, *, kernel_init: Initializer = jax.nn.initializers.normal(0.01)) -> Model:
    """Make an adaptive linear neuron: $y = w . x + b$, by which it learns and whose sign is its decision.

    Args:
        config: the settings.
        kernel_init: initializes the weights, by default near 0.

    Returns:
        A model from `[..., features]`, floating point, to `[...]`. It learns by `adaline_rule`, or by any optimizer on
        the squared error.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = adaline(AdalineConfig(features=2))
        >>> params = {"kernel": jnp.array([[2.0], [-1.0]]), "bias": jnp.array([0.5])}
        >>> model.apply(params, {}, jnp.array([[1.0, 1.0], [0.0, 1.0]]), train=False)[0]
        Array([ 1.5, -0.5], dtype=float32)

    Reference:
        Widrow and Hoff, Adaptive switching circuits, 1960.
    """
    return build_model(config, AdalineConfig, functools.partial(_spec, kernel_init=kernel_init), _apply)


@names_errors
def adaline_rule(params: Params, x: Array, targets: ArrayLike, *, learning_rate: float | Array) -> tuple[Params, Array]:
    """Correct the weights in proportion to the error of the linear output: $w + rate (target - y) x$.

    Of several examples the mean correction is taken. It is a step of gradient descent on $(target - y)^2 / 2$, and
    converges, in the mean, to the least-squares solution if the rate is below 2 / (largest eigenvalue of the mean
    of $x x^T$).

    Args:
        params: of an `adaline`.
        x: `[batch, features]`, floating point.
        targets: `[batch]`, what y should be: -1 or 1 for two classes.
        learning_rate: the rate.

    Returns:
        The parameters, and the errors target - y before the correction `[batch]`.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> params = {"kernel": jnp.zeros((2, 1)), "bias": jnp.zeros(1)}
        >>> params, errors = adaline_rule(params, jnp.array([[2.0, 1.0]]), jnp.array([-1.0]), learning_rate=0.1)
        >>> params["kernel"].ravel(), params["bias"], errors
        (Array([-0.2, -0.1], dtype=float32), Array([-0.1], dtype=float32), Array([-1.], dtype=float32))

    Reference:
        Widrow and Hoff, Adaptive switching circuits, 1960.

    Warning:
        The perceptron's rule looks alike, but its y is the decision: it stops where all decisions are right, this
        one where the squared error is least, which may leave wrong decisions on separable data. Others take the sum
        of the corrections, or twice this one, the gradient of $(target - y)^2$.
    """
    check_floating(x)
    if x.ndim != 2 or jnp.shape(targets) != x.shape[:1]:
        raise ValueError(
            f"x must be [batch, features] and targets [batch], got {list(x.shape)} and "
            f"{list(jnp.shape(targets))}; write x[None] and targets[None] for one example"
        )
    errors = jnp.asarray(targets, jnp.result_type(x)) - nn.linear(params, x)[..., 0]
    corrections = {"kernel": x.T @ errors[:, None] / len(x), "bias": jnp.mean(errors, keepdims=True)}
    return {name: value + learning_rate * corrections[name] for name, value in params.items()}, errors
