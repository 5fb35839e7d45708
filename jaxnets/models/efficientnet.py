"""EfficientNet: one network, made deeper, wider and finer by one rule."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveFloat, PositiveInt, Rate, Rule, build_model
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


class Stage(NamedTuple):
    """A stage of B0, the paper's table 1.

    Attributes:
        expansion: the middle of a block has this many times the channels of its input.
        kernel_size: of the depthwise convolution.
        stride: of the first block.
        channels: of the result.
        blocks: how many of them.
    """

    expansion: int
    kernel_size: int
    stride: int
    channels: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
STEM_CHANNELS = 32


@dataclasses.dataclass(frozen=True)
class EfficientNetConfig(ModelConfig):
    """The settings of `efficientnet`; by default B0, and `efficientnet_config` has those of B1 to B7.

    Attributes:
        classes: how many logits the network returns.
        channels: of the images.
        width: factor of the channels of all convolutions.
        depth: factor of the blocks a stage.
        dropout_rate: of the dropout before the last layer.
        drop_path_rate: of drop path in a block after the last; it grows with the depth from 0.
        epsilon: of batch norm.
        momentum: of batch norm.
    """

    classes: PositiveInt = 1000
    channels: PositiveInt = 3
    width: PositiveFloat = 1.0
    depth: Annotated[float, Rule("greater than 0 and at most 100", lambda factor: 0 < factor <= 100)] = 1.0
    dropout_rate: Rate = 0.2
    drop_path_rate: Rate = 0.2
    epsilon: PositiveFloat = 1e-5
    momentum: float = 0.9


_LARGE: Mapping[str, Any] = {"epsilon": 1e-3, "momentum": 0.99}  # as in torchvision
_VARIANTS = (
    EfficientNetConfig(),
    EfficientNetConfig(depth=1.1),
    EfficientNetConfig(width=1.1, depth=1.2, dropout_rate=0.3),
    EfficientNetConfig(width=1.2, depth=1.4, dropout_rate=0.3),
    EfficientNetConfig(width=1.4, depth=1.8, dropout_rate=0.4),
    EfficientNetConfig(width=1.6, depth=2.2, dropout_rate=0.4, **_LARGE),
    EfficientNetConfig(width=1.8, depth=2.6, dropout_rate=0.5, **_LARGE),
    EfficientNetConfig(width=2.0, depth=3.1, dropout_rate=0.5, **_LARGE),
)


def efficientnet_config(variant: int, **settings: Any) -> EfficientNetConfig:
    """Return the config of EfficientNet-B0 to B7, with other settings where they are given.

    ======= ===== ===== ============ ====== ==========
    variant width depth dropout_rate images parameters
    ======= ===== ===== ============ ====== ==========
    0       1.0   1.0   0.2          224    5,288,548
    1       1.0   1.1   0.2          240    7,794,184
    2       1.1   1.2   0.3          260    9,109,994
    3       1.2   1.4   0.3          300    12,233,232
    4       1.4   1.8   0.4          380    19,341,616
    5       1.6   2.2   0.4          456    30,389,784
    6       1.8   2.6   0.5          528    43,040,704
    7       2.0   3.1   0.5          600    66,347,960
    ======= ===== ===== ============ ====== ==========

    Images are the height and width, in pixels, of the published figures; the network takes any.

    Args:
        variant: 0 to 7.
        **settings: fields of `EfficientNetConfig`.

    Raises:
        ValueError: if there is no such variant, or a setting is not allowed.

    Example:
        >>> config = efficientnet_config(3, classes=10)
        >>> config.depth, config.classes
        (1.4, 10)
    """
    if variant not in range(len(_VARIANTS)):
        raise ValueError(
            f"efficientnet_config: variant must be 0 to {len(_VARIANTS) - 1}, for B0 to B7; got {variant!r}"
        )
    return dataclasses.replace(_VARIANTS[variant], **settings)


def scaled_channels(channels: int, width: float) -> int:
    """Scale and round to a multiple of 8, but by no more than a tenth down."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _spec(config: EfficientNetConfig) -> Spec:
    """`stem`, `stages` (seven lists of blocks), `head` and `fc`."""
    before = scaled_channels(STEM_CHANNELS, config.width)
    spec: dict[str, Any] = {"stem": nn.conv_norm_spec(config.channels, before, (3, 3))}
    stages = []
    for stage in STAGES:
        after = scaled_channels(stage.channels, config.width)
        ins = [before] + [after] * (math.ceil(stage.blocks * config.depth) - 1)
        stages.append([inverted_residual_spec(stage, size, after) for size in ins])
        before = after
    head = 4 * before
    return spec | {
        "stages": stages,
        "head": nn.conv_norm_spec(before, head, (1, 1)),
        "fc": nn.linear_spec(
            head, config.classes, kernel_init=jax.nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        ),
    }


def inverted_residual_spec(stage: Stage, before: int, after: int, *, excitation: bool = True) -> Spec:
    """Describe `inverted_residual` from `before` to `after` channels; it weighs channels if there is an excitation."""
    middle = stage.expansion * before
    kernel_size = (stage.kernel_size, stage.kernel_size)
    return {
        **({"expand": nn.conv_norm_spec(before, middle, (1, 1))} if stage.expansion > 1 else {}),
        "depthwise": nn.conv_norm_spec(middle, middle, kernel_size, convolution_spec=_depthwise_spec),
        **({"excitation": nn.squeeze_excitation_spec(middle, max(1, before // 4))} if excitation else {}),
        "project": nn.conv_norm_spec(middle, after, (1, 1)),
    }


def _depthwise_spec(in_channels: int, out_channels: int, kernel_size: Any, **settings: Any) -> Spec:
    settings["kernel_init"] = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal", in_axis=(), batch_axis=-2)
    return nn.depthwise_conv_spec(in_channels, kernel_size, **settings)


def _apply(
    config: EfficientNetConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """A 3 x 3 convolution of stride 2, seven stages of inverted residual blocks, 1 x 1, the mean, a linear layer."""
    norm: dict[str, Any] = {"epsilon": config.epsilon, "momentum": config.momentum, "train": train}
    unit: Callable[..., tuple[Array, State]] = functools.partial(nn.conv_norm, activation=jax.nn.silu, **norm)
    x, stem = unit(params["stem"], state["stem"], x, stride=2, padding=1)
    total = sum(len(stage) for stage in params["stages"])
    number, stages = 0, []
    for stage, blocks, states in zip(STAGES, params["stages"], state["stages"], strict=True):
        new_states = []
        for position, (block, block_state) in enumerate(zip(blocks, states, strict=True)):
            x, new_state = inverted_residual(
                block,
                block_state,
                x,
                stride=1 if position else stage.stride,
                drop_path_rate=config.drop_path_rate * number / total,
                key=subkey(key, f"block{number}"),
                **norm,
            )
            new_states.append(new_state)
            number += 1
        stages.append(new_states)
    x, head = unit(params["head"], state["head"], x)
    x = nn.dropout(nn.global_avg_pool(x), config.dropout_rate, key=subkey(key, "dropout"), train=train)
    return nn.linear(params["fc"], x), {"stem": stem, "stages": stages, "head": head}


def inverted_residual(
    params: Params,
    state: State,
    x: Array,
    *,
    stride: int,
    drop_path_rate: float | Array,
    activation: Callable[[Array], Array] = jax.nn.silu,
    padding: Literal["SAME"] | None = None,
    key: Key | None = None,
    train: bool,
    **norm: Any,
) -> tuple[Array, State]:
    """Widen by 1 x 1, convolve each channel, weigh the channels, narrow by 1 x 1, and add x where the sizes agree.

    Args:
        params: `expand` (if it widens), `depthwise`, `excitation` (if it weighs the channels) and `project`.
        state: the running statistics of the three norms.
        x: `[batch, height, width, channels]`.
        stride: of the depthwise convolution.
        drop_path_rate: the probability to leave out what is added to x, where it is added.
        activation: between the convolutions.
        padding: of the depthwise convolution: None for half its kernel on each side, as in PyTorch, or `"SAME"`, as in
            TensorFlow.
        key: for drop path in training.
        train: whether drop path drops and batch norm uses the batch.
        **norm: settings of `batch_norm`: `epsilon`, `momentum`.

    Returns:
        `[batch, height', width', channels']`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, state = init(efficientnet().spec["stages"][0][0], jax.random.key(0))
        >>> x = jnp.ones((1, 8, 8, 32))
        >>> inverted_residual(params, state, x, stride=1, drop_path_rate=0.0, train=False)[0].shape
        (1, 8, 8, 16)

    Reference:
        Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018; Tan et
        al.: MnasNet: Platform-Aware Neural Architecture Search for Mobile, 2018.
    """
    unit: Callable[..., tuple[Array, State]] = functools.partial(nn.conv_norm, train=train, **norm)
    y, new_state = x, {}
    if "expand" in params:
        y, new_state["expand"] = unit(params["expand"], state["expand"], y, activation=activation)
    y, new_state["depthwise"] = unit(
        params["depthwise"],
        state["depthwise"],
        y,
        convolution=nn.depthwise_conv,
        stride=stride,
        padding=padding or params["depthwise"]["conv"]["kernel"].shape[0] // 2,
        activation=activation,
    )
    if "excitation" in params:
        y = nn.squeeze_excitation(params["excitation"], y, activation=activation)
    y, new_state["project"] = unit(params["project"], state["project"], y)
    if stride == 1 and y.shape == x.shape:
        y = x + nn.drop_path(y, drop_path_rate, key=key, train=train)
    return y, new_state


def efficientnet(config: EfficientNetConfig = EfficientNetConfig()) -> Model:
    """Make an EfficientNet; `efficientnet_config(variant)` has the settings of B0 to B7.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` of any size to logits `[batch, classes]`. It needs a key
        in training, and its state holds the running statistics of all norms.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = efficientnet(efficientnet_config(0, classes=10))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 224, 224, 3))).shape
        (1, 10)

    Reference:
        Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019.

    Warning:
        Sizes, padding, dropout and batch norm's epsilon are torchvision's. The authors' program pads strided
        convolutions at the end only (`"SAME"`) and has epsilon 0.001 in all variants; their weights do not fit.
    """
    return build_model(config, EfficientNetConfig, _spec, _apply)
