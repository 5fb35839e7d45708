"""Residual networks for images of 32 x 32 pixels."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import jax

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, Rule, build_model
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_STAGES = 3
_SIX_N_PLUS_2 = Rule(
    "6 n + 2, such as 20, 32, 44, 56 or 110, and at most 10,000", lambda depth: 8 <= depth <= 10_000 and depth % 6 == 2
)


@dataclasses.dataclass(frozen=True)
class CifarResNetConfig(ModelConfig):
    """The settings of `cifar_resnet`; the paper has depths 20, 32, 44, 56 and 110.

    Attributes:
        depth: 6 n + 2 for n blocks a stage.
        classes: how many logits the network returns.
        channels: of the images.
        width: channels of the first stage; the others have two and four times as many.
        residual: False leaves the shortcuts out: the paper's plain network, with the same parameters.
    """

    depth: Annotated[int, _SIX_N_PLUS_2] = 20
    classes: PositiveInt = 10
    channels: PositiveInt = 3
    width: PositiveInt = 16
    residual: bool = True


def _spec(config: CifarResNetConfig) -> Spec:
    """`stem`, `stages` and `fc`. Of each stage the blocks after the first are stacked."""
    blocks = (config.depth - 2) // (2 * _STAGES)
    stages, before = [], config.width
    for number in range(_STAGES):
        after = config.width * 2**number
        first, others = nn.basic_block_spec(before, after), nn.basic_block_spec(after, after)
        stages.append(nn.residual_stage_spec(first, others, blocks))
        before = after
    return {
        "stem": nn.conv_norm_spec(config.channels, config.width, (3, 3)),
        "stages": stages,
        "fc": nn.linear_spec(before, config.classes),
    }


def _apply(
    config: CifarResNetConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """A 3 x 3 convolution, three stages of basic blocks with shortcuts without parameters, the mean, a linear layer."""
    x, stem = nn.conv_norm(params["stem"], state["stem"], x, padding=1, activation=jax.nn.relu, train=train)
    stages = []
    for number, (stage, stage_state) in enumerate(zip(params["stages"], state["stages"], strict=True)):
        x, new_stage = nn.residual_stage(
            nn.basic_block, stage, stage_state, x, stride=2 if number else 1, residual=config.residual, train=train
        )
        stages.append(new_stage)
    return nn.linear(params["fc"], nn.global_avg_pool(x)), {"stem": stem, "stages": stages}


def cifar_resnet(config: CifarResNetConfig = CifarResNetConfig()) -> Model:
    """Make the paper's network for CIFAR-10: 20, 32, 44, 56, 110 layers, 16, 32 and 64 channels.

    Where the image shrinks, the shortcut takes every second position and adds channels of zeros (the paper's
    option A), so it has no parameters.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` of any size to logits `[batch, classes]`. Its state holds
        the running statistics of all norms.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets import count_parameters
        >>> [count_parameters(cifar_resnet(CifarResNetConfig(depth)).spec) for depth in (20, 56)]
        [269722, 853018]

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, section 4.2.
    """
    return build_model(config, CifarResNetConfig, _spec, _apply)
