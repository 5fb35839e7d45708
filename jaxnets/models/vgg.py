"""VGG: stages of 3 x 3 convolutions, each followed by max pooling."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated

import jax

from jaxnets import nn
from jaxnets.combinators import flatten
from jaxnets.config import LayerSizes, ModelConfig, PositiveFloat, PositiveInt, Rate, build_model, one_of
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each stage has."""
_CHANNELS = (64, 128, 256, 512, 512)


@dataclasses.dataclass(frozen=True)
class VGGConfig(ModelConfig):
    """The settings of `vgg`; by default VGG-16.

    ===== =============
    depth parameters
    ===== =============
    11    132,863,336
    13    133,047,848
    16    138,357,544
    19    143,667,240
    ===== =============

    Attributes:
        depth: 11, 13, 16 or 19, the number of layers with kernels.
        classes: how many logits the network returns.
        norm: whether each convolution is followed by batch norm, as in torchvision's `vgg16_bn` and so on.
        channels: of the images.
        pooled: height and width to which the last stage is pooled; 1 for images of 32 x 32.
        hidden: units of the linear layers before the last; () for images of 32 x 32.
        width: a factor for the channels of all convolutions.
        dropout_rate: of the dropout before each linear layer but the first.
    """

    depth: Annotated[int, one_of(_DEPTHS)] = 16
    classes: PositiveInt = 1000
    norm: bool = False
    channels: PositiveInt = 3
    pooled: PositiveInt = 7
    hidden: LayerSizes = (4096, 4096)
    width: PositiveFloat = 1.0
    dropout_rate: Rate = 0.5


def _spec(config: VGGConfig) -> Spec:
    """`stages`, five lists of convolutions, and `classifier`, a list of linear layers."""
    widths = [max(1, round(config.width * size)) for size in _CHANNELS]
    stages = []
    for count, before, after in zip(_DEPTHS[config.depth], [config.channels, *widths[:-1]], widths, strict=True):
        channels = [before, *([after] * count)]
        stages.append([_unit_spec(*pair, norm=config.norm) for pair in itertools.pairwise(channels)])
    sizes = [config.pooled**2 * widths[-1], *config.hidden, config.classes]
    normal = jax.nn.initializers.normal(0.01)
    classifier = [nn.linear_spec(*pair, kernel_init=normal) for pair in itertools.pairwise(sizes)]
    return {"stages": stages, "classifier": classifier}


def _unit_spec(before: int, after: int, norm: bool) -> Spec:
    he = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
    conv = nn.conv_spec(before, after, (3, 3), kernel_init=he)
    return {"conv": conv, "norm": nn.batch_norm_spec(after)} if norm else {"conv": conv}


def _apply(
    config: VGGConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Run the stages, pool to a fixed size, and classify."""
    states = state.get("stages", [[{}] * len(stage) for stage in params["stages"]])
    new_states = []
    for stage, stage_state in zip(params["stages"], states, strict=True):
        new_stage = []
        for unit, unit_state in zip(stage, stage_state, strict=True):
            x, new_unit = _unit(unit, unit_state, x, train)
            new_stage.append(new_unit)
        x = nn.max_pool(x, (2, 2))
        new_states.append(new_stage)
    x = flatten(nn.adaptive_avg_pool(x, (config.pooled, config.pooled)))
    for number, layer in enumerate(params["classifier"]):
        if number:
            x = nn.dropout(jax.nn.relu(x), config.dropout_rate, key=subkey(key, f"dropout{number}"), train=train)
        x = nn.linear(layer, x)
    return x, {"stages": new_states} if state else state


def _unit(params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
    """A convolution, batch norm if there is one, and ReLU."""
    x = nn.conv(params["conv"], x)
    if "norm" not in params:
        return jax.nn.relu(x), state
    x, norm = nn.batch_norm(params["norm"], state["norm"], x, train=train)
    return jax.nn.relu(x), {"norm": norm}


def vgg(config: VGGConfig = VGGConfig()) -> Model:
    """Make a VGG: five stages of 3 x 3 convolutions with ReLU and max pooling, two linear layers of 4,096, a last one.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]`, at least 32 x 32, to logits `[batch, classes]`. It needs
        a key in training. With batch norm, its state holds the running statistics.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = vgg(VGGConfig(11, classes=10, pooled=1, hidden=(), width=0.125))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 32, 32, 3))).shape
        (1, 10)

    Reference:
        Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014.
    """
    return build_model(config, VGGConfig, _spec, _apply)
