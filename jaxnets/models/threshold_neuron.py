"""The threshold neuron of McCulloch and Pitts, and two layers of such neurons."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class ThresholdNeuronConfig(ModelConfig):
    """The settings of `threshold_neuron`.

    Attributes:
        features: how many inputs a neuron has.
        units: how many neurons see the same inputs.
    """

    features: PositiveInt
    units: PositiveInt = 1


def _spec(config: ThresholdNeuronConfig) -> Spec:
    """`kernel` `[features, units]`, the weights, and `bias` `[units]`, the thresholds with a minus sign."""
    return nn.linear_spec(config.features, config.units)


def _apply(
    config: ThresholdNeuronConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    return _fire(params, x), state


def _fire(params: Params, x: Array) -> Array:
    """[<w, x> + b > 0], which is 1 or 0."""
    return (nn.linear(params, x) > 0).astype(jnp.result_type(x))


def threshold_neuron(config: ThresholdNeuronConfig) -> Model:
    """Make a layer of neurons, which fire where the weighted sum exceeds the threshold: $y = [w . x + b > 0]$.

    A sum of exactly 0, an input on the threshold itself, gives 0. The gradient is 0 everywhere: nothing is learned.

    Args:
        config: the settings.

    Returns:
        A model from `[..., features]`, floating point, to zeros and ones `[..., units]` of that dtype.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = threshold_neuron(ThresholdNeuronConfig(features=2))
        >>> logical_and = {"kernel": jnp.array([[1.0], [1.0]]), "bias": jnp.array([-1.5])}
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> model.apply(logical_and, {}, x, train=False)[0].ravel()
        Array([0., 0., 0., 1.], dtype=float32)

    Reference:
        McCulloch and Pitts, A logical calculus of the ideas immanent in nervous activity, 1943.

    Warning:
        `nn.heaviside` is 1/2 on the threshold, as in tables of activation functions. McCulloch and Pitts' own neuron
        fires on the threshold, and knows no weights: any active inhibitory input silences it.
    """
    return build_model(config, ThresholdNeuronConfig, _spec, _apply)


@dataclasses.dataclass(frozen=True)
class ThresholdNetworkConfig(ModelConfig):
    """The settings of `threshold_network`.

    Attributes:
        features: how many inputs the network has.
        hidden: how many neurons the first layer has.
        units: how many neurons the second layer has.
    """

    features: PositiveInt
    hidden: PositiveInt
    units: PositiveInt = 1


def _network_spec(config: ThresholdNetworkConfig) -> Spec:
    """`hidden` and `output`, both as a `threshold_neuron` has them."""
    return {
        "hidden": nn.linear_spec(config.features, config.hidden),
        "output": nn.linear_spec(config.hidden, config.units),
    }


def _network_apply(
    config: ThresholdNetworkConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    return _fire(params["output"], _fire(params["hidden"], x)), state


def threshold_network(config: ThresholdNetworkConfig) -> Model:
    """Make two layers of threshold neurons: $y = [v . h + c > 0]$ with $h_i = [w_i . x + b_i > 0]$.

    One neuron separates by a hyperplane; two layers make any region that hyperplanes bound.

    Args:
        config: the settings.

    Returns:
        A model from `[..., features]`, floating point, to zeros and ones `[..., units]` of that dtype.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = threshold_network(ThresholdNetworkConfig(features=2, hidden=2))
        >>> or_and = {"kernel": jnp.ones((2, 2)), "bias": jnp.array([-0.5, -1.5])}
        >>> difference = {"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.array([-0.5])}
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> model.apply({"hidden": or_and, "output": difference}, {}, x, train=False)[0].ravel()  # exclusive or
        Array([0., 1., 1., 0.], dtype=float32)

    Reference:
        Minsky and Papert, Perceptrons, 1969 (XOR is beyond one neuron).
    """
    return build_model(config, ThresholdNetworkConfig, _network_spec, _network_apply)
