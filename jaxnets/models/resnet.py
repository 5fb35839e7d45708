"""Residual networks for large images."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model, one_of
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""How many blocks each stage has."""
_FIRST_BOTTLENECK = 50


@dataclasses.dataclass(frozen=True)
class ResNetConfig(ModelConfig):
    """The settings of `resnet`; by default ResNet-50.

    ===== ========== ==========
    depth blocks     parameters
    ===== ========== ==========
    18    basic      11,689,512
    34    basic      21,797,672
    50    bottleneck 25,557,032
    101   bottleneck 44,549,160
    152   bottleneck 60,192,808
    ===== ========== ==========

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        classes: how many logits the network returns.
        channels: of the images.
        width: channels of the first stage; each later one has twice those of the one before.
    """

    depth: Annotated[int, one_of(_DEPTHS)] = 50
    classes: PositiveInt = 1000
    channels: PositiveInt = 3
    width: PositiveInt = 64

    @property
    def has_bottlenecks(self) -> bool:
        """Whether its blocks are bottleneck blocks."""
        return self.depth >= _FIRST_BOTTLENECK


def _spec(config: ResNetConfig) -> Spec:
    """`stem`, `stages` and `fc`. Of each stage the blocks after the first are stacked."""
    block_spec = nn.bottleneck_block_spec if config.has_bottlenecks else nn.basic_block_spec
    expansion = nn.BOTTLENECK_EXPANSION if config.has_bottlenecks else 1
    stages, before = [], config.width
    for number, count in enumerate(_DEPTHS[config.depth]):
        inner = config.width * 2**number
        after = expansion * inner
        first = block_spec(before, inner, projection=before != after)
        stages.append(nn.residual_stage_spec(first, block_spec(after, inner), count))
        before = after
    return {
        "stem": nn.conv_norm_spec(config.channels, config.width, (7, 7)),
        "stages": stages,
        "fc": nn.linear_spec(before, config.classes),
    }


def _apply(
    config: ResNetConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """A 7 x 7 convolution of stride 2, max pooling, four stages of residual blocks, the mean, and a linear layer."""
    block = nn.bottleneck_block if config.has_bottlenecks else nn.basic_block
    x, stem = nn.conv_norm(params["stem"], state["stem"], x, stride=2, padding=3, activation=jax.nn.relu, train=train)
    x = nn.max_pool(x, (3, 3), stride=2, padding=1)
    stages = []
    for number, (stage, stage_state) in enumerate(zip(params["stages"], state["stages"], strict=True)):
        x, new_stage = nn.residual_stage(block, stage, stage_state, x, stride=2 if number else 1, train=train)
        stages.append(new_stage)
    return nn.linear(params["fc"], nn.global_avg_pool(x)), {"stem": stem, "stages": stages}


def resnet(config: ResNetConfig = ResNetConfig()) -> Model:
    """Make a residual network: 18, 34, 50, 101 or 152 layers.

    Bottleneck blocks have the stride in the 3 x 3 convolution, as in torchvision and timm.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` of any size (the published figures are for 224 x 224) to
        logits `[batch, classes]`. Its state holds the running statistics of all norms.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = resnet(ResNetConfig(18, classes=10, width=8))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 33, 33, 3))).shape
        (1, 10)

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
    """
    return build_model(config, ResNetConfig, _spec, _apply)
