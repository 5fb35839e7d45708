"""Multi-layer perceptrons of any depth."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, Activation, LayerSizes, ModelConfig, Rate, build_model
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params, State


@dataclasses.dataclass(frozen=True)
class MLPConfig(ModelConfig):
    """The settings of `mlp`.

    Attributes:
        sizes: of the input, of each hidden layer, and of the result.
        activation: f, of the hidden layers.
        norm: whether each hidden layer has batch norm before its activation.
        dropout_rate: of the dropout after each hidden layer.
        residual: whether a hidden layer of as many units as the one before adds that one's result to its own.

    Example:
        >>> MLPConfig((8,))
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: MLPConfig: sizes must hold those of the input and of the result at least, got (8,)
    """

    sizes: LayerSizes
    activation: Activation = "relu"
    norm: bool = False
    dropout_rate: Rate = 0.0
    residual: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) < 2:
            raise SettingError(
                f"MLPConfig: sizes must hold those of the input and of the result at least, got {self.sizes}"
            )


def _spec(config: MLPConfig, kernel_init: Initializer) -> Spec:
    """`layers`, a list of `{"linear", "norm"}`, the last without `norm`."""
    layers = [{"linear": nn.linear_spec(*pair, kernel_init=kernel_init)} for pair in itertools.pairwise(config.sizes)]
    if config.norm:
        for layer, units in zip(layers[:-1], config.sizes[1:-1], strict=True):
            layer["norm"] = nn.batch_norm_spec(units)
    return {"layers": layers}


def _apply(
    config: MLPConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Run the layers: a = dropout(f(norm(a W + b))), and the last without f, norm and dropout."""
    activation = ACTIVATIONS[config.activation]
    *hidden, last = params["layers"]
    new_states = []
    for number, layer in enumerate(hidden):
        y = nn.linear(layer["linear"], x)
        if config.norm:
            y, norm = nn.batch_norm(layer["norm"], state["layers"][number]["norm"], y, train=train)
            new_states.append({"norm": norm})
        y = nn.dropout(activation(y), config.dropout_rate, key=subkey(key, f"dropout{number}"), train=train)
        x = x + y if config.residual and x.shape == y.shape else y
    return nn.linear(last["linear"], x), {"layers": [*new_states, {}]} if new_states else state


def mlp(config: MLPConfig, *, kernel_init: Initializer = jax.nn.initializers.lecun_normal()) -> Model:
    """Make a multi-layer perceptron: $A_l = f(A_(l-1) W_l + b_l)$, the last layer linear.

    Args:
        config: the settings.
        kernel_init: initializes all kernels; a trained network does not depend on it, so it is not in the config.

    Returns:
        A model from `[batch, size of the input]` to `[batch, size of the result]`. With batch norm, its state holds the
        running statistics.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import count_parameters
        >>> model = mlp(MLPConfig((784, 100, 10), dropout_rate=0.5))
        >>> count_parameters(model.spec)
        79510
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((5, 784)), train=False)[0].shape
        (5, 10)

    Reference:
        Rumelhart, Hinton, Williams: Learning representations by back-propagating errors, 1986.
    """
    return build_model(config, MLPConfig, functools.partial(_spec, kernel_init=kernel_init), _apply)
