"""Multi-layer perceptrons of any depth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State


def mlp_spec(
    sizes: Sequence[int], *, norm: bool = False, kernel_init: Initializer = jax.nn.initializers.lecun_normal()
) -> Spec:
    """Describe the parameters and the state of `mlp`.

    Args:
        sizes: of the input, of each hidden layer, and of the result.
        norm: whether each hidden layer has batch norm before its activation.
        kernel_init: starts all kernels.

    Returns:
        A spec with `layers`, a list of `{"linear", "norm"}`, the last without `norm`.

    Raises:
        ValueError: if there are fewer than two sizes.

    Example:
        >>> [layer["linear"]["kernel"].shape for layer in mlp_spec([8, 12, 1])["layers"]]
        [(8, 12), (12, 1)]
    """
    if len(sizes) < 2:
        raise ValueError(f"mlp: sizes must hold those of the input and of the result at least, got {list(sizes)}")
    layers = []
    for number, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
        layer = {"linear": nn.linear_spec(before, after, kernel_init=kernel_init)}
        hidden = number < len(sizes) - 1
        layers.append({**layer, "norm": nn.batch_norm_spec(after)} if norm and hidden else layer)
    return {"layers": layers}


def mlp_apply(
    params: Params,
    state: State,
    x: Array,
    *,
    key: Key | None = None,
    train: bool,
    activation: Callable[[Array], Array] = jax.nn.relu,
    rate: float | Array = 0.0,
    residual: bool = False,
) -> tuple[Array, State]:
    """Run the layers: a = dropout(f(norm(a W + b))), and the last without f, norm and dropout.

    Args:
        params: as `mlp_spec` describes them.
        state: the running statistics of the norms, or `{}` without them.
        x: `[batch, features]`.
        key: for dropout in training.
        train: whether dropout drops and batch norm uses the batch.
        activation: f.
        rate: of dropout.
        residual: whether a hidden layer of as many units as the one before adds that one's result to its own.

    Returns:
        `[batch, size of the last layer]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = mlp([2, 8, 8, 1], activation=jax.nn.tanh, residual=True)
        >>> model.apply(*model.init(jax.random.key(0)), jnp.ones((5, 2)), train=False)[0].shape
        (5, 1)
    """
    *hidden, last = params["layers"]
    new_states = []
    for number, layer in enumerate(hidden):
        y = nn.linear(layer["linear"], x)
        if "norm" in layer:
            y, norm = nn.batch_norm(layer["norm"], state["layers"][number]["norm"], y, train=train)
            new_states.append({"norm": norm})
        y = nn.dropout(activation(y), rate, key=subkey(key, f"dropout{number}"), train=train)
        x = x + y if residual and x.shape == y.shape else y
    return nn.linear(last["linear"], x), {"layers": [*new_states, {}]} if new_states else state


def mlp(
    sizes: Sequence[int],
    *,
    activation: Callable[[Array], Array] = jax.nn.relu,
    rate: float | Array = 0.0,
    residual: bool = False,
    **spec: Any,
) -> Model:
    """Make a multi-layer perceptron: A_l = f(A_(l-1) W_l + b_l), the last layer linear.

    Args:
        sizes: of the input, of each hidden layer, and of the result.
        activation: f.
        rate: of the dropout after each hidden layer.
        residual: whether a hidden layer of as many units as the one before adds that one's result to its own.
        **spec: as in `mlp_spec`.

    Returns:
        The model; see `mlp_apply`.

    Raises:
        ValueError: if there are fewer than two sizes.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(mlp_spec([784, 100, 10]))
        79510

    Reference:
        Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986.
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        return mlp_apply(params, state, x, key=key, train=train, activation=activation, rate=rate, residual=residual)

    return make_model(mlp_spec(sizes, **spec), apply)
