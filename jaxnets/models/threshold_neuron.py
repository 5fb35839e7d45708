"""The threshold neuron of McCulloch and Pitts, and two layers of such neurons."""

from __future__ import annotations

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


def threshold_neuron_spec(features: int, units: int = 1) -> Spec:
    """Describe the parameters of `threshold_neuron`.

    Args:
        features: how many inputs a neuron has.
        units: how many neurons see the same inputs.

    Returns:
        A spec with `kernel` `[features, units]`, the weights, and `bias` `[units]`, the thresholds with a minus sign.

    Example:
        >>> threshold_neuron_spec(2)["kernel"].shape
        (2, 1)
    """
    return nn.linear_spec(features, units)


def threshold_neuron_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Fire where the weighted sum exceeds the threshold: y = [<w, x> + b > 0], which is 1 or 0.

    A sum of exactly 0, an input on the threshold itself, gives 0. The gradient is 0 everywhere: nothing is learned.

    Args:
        params: as `threshold_neuron_spec` describes them.
        state: `{}`.
        x: `[..., features]`, floating point.
        key: not used.
        train: not used.

    Returns:
        `[..., units]`, zeros and ones of the dtype of `x`, and the state.

    Raises:
        ValueError: if the last axis of `x` does not fit the kernel.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> logical_and = {"kernel": jnp.array([[1.0], [1.0]]), "bias": jnp.array([-1.5])}
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> threshold_neuron_apply(logical_and, {}, x, train=False)[0].ravel()
        Array([0., 0., 0., 1.], dtype=float32)

    Reference:
        McCulloch and Pitts, A logical calculus of the ideas immanent in nervous activity, 1943.

    Warning:
        `nn.heaviside` is 1/2 on the threshold, as in tables of activation functions. McCulloch and Pitts' own neuron
        fires on the threshold, and knows no weights: any active inhibitory input silences it.
    """
    sums = nn.linear(params, x)
    return (sums > 0).astype(x.dtype), state


def threshold_neuron(features: int, units: int = 1) -> Model:
    """Make a layer of threshold neurons: y = [<w, x> + b > 0].

    Args:
        features: how many inputs a neuron has.
        units: how many neurons see the same inputs.

    Returns:
        The model; see `threshold_neuron_apply`.

    Example:
        >>> import jax
        >>> params, state = threshold_neuron(3).init(jax.random.key(0))
        >>> params["kernel"].shape, state
        ((3, 1), {})

    Reference:
        McCulloch and Pitts, A logical calculus of the ideas immanent in nervous activity, 1943.
    """
    return make_model(threshold_neuron_spec(features, units), threshold_neuron_apply)


def threshold_network_spec(features: int, hidden: int, units: int = 1) -> Spec:
    """Describe the parameters of `threshold_network`.

    Args:
        features: how many inputs the network has.
        hidden: how many neurons the first layer has.
        units: how many neurons the second layer has.

    Returns:
        A spec with `hidden` and `output`, each as `threshold_neuron_spec` describes it.

    Example:
        >>> spec = threshold_network_spec(2, 3)
        >>> spec["hidden"]["kernel"].shape, spec["output"]["kernel"].shape
        ((2, 3), (3, 1))
    """
    return {"hidden": threshold_neuron_spec(features, hidden), "output": threshold_neuron_spec(hidden, units)}


def threshold_network_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Superpose threshold neurons: y = [<v, h> + c > 0] with h_i = [<w_i, x> + b_i > 0].

    One neuron separates by a hyperplane; two layers make any region that hyperplanes bound.

    Args:
        params: as `threshold_network_spec` describes them.
        state: `{}`.
        x: `[..., features]`, floating point.
        key: not used.
        train: not used.

    Returns:
        `[..., units]`, zeros and ones of the dtype of `x`, and the state.

    Raises:
        ValueError: if the last axis of `x` does not fit the kernel.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> or_and = {"kernel": jnp.ones((2, 2)), "bias": jnp.array([-0.5, -1.5])}
        >>> difference = {"kernel": jnp.array([[1.0], [-1.0]]), "bias": jnp.array([-0.5])}
        >>> exclusive_or = {"hidden": or_and, "output": difference}
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> threshold_network_apply(exclusive_or, {}, x, train=False)[0].ravel()
        Array([0., 1., 1., 0.], dtype=float32)

    Reference:
        Minsky and Papert, Perceptrons, 1969 (XOR is beyond one neuron).
    """
    hidden, _ = threshold_neuron_apply(params["hidden"], state, x, key=key, train=train)
    return threshold_neuron_apply(params["output"], state, hidden, key=key, train=train)


def threshold_network(features: int, hidden: int, units: int = 1) -> Model:
    """Make two layers of threshold neurons: y = [<v, h> + c > 0] with h_i = [<w_i, x> + b_i > 0].

    Args:
        features: how many inputs the network has.
        hidden: how many neurons the first layer has.
        units: how many neurons the second layer has.

    Returns:
        The model; see `threshold_network_apply`.

    Example:
        >>> import jax
        >>> from jaxnets import count_parameters
        >>> count_parameters(threshold_network_spec(2, 2))
        9

    Reference:
        Minsky and Papert, Perceptrons, 1969 (XOR is beyond one neuron).
    """
    return make_model(threshold_network_spec(features, hidden, units), threshold_network_apply)
