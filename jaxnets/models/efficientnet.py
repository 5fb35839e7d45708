"""EfficientNet: one network, made deeper, wider and finer by one rule."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
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


class Scale(NamedTuple):
    """How a variant differs from B0.

    Attributes:
        width: factor of the channels.
        depth: factor of the blocks a stage.
        size: height and width of the images of the published figures, in pixels.
        rate: of the dropout before the last layer.
        epsilon: of batch norm, as in torchvision.
        momentum: of batch norm, as in torchvision.
    """

    width: float
    depth: float
    size: int
    rate: float
    epsilon: float = 1e-5
    momentum: float = 0.9


EFFICIENTNET_SCALES = (
    Scale(1.0, 1.0, 224, 0.2),
    Scale(1.0, 1.1, 240, 0.2),
    Scale(1.1, 1.2, 260, 0.3),
    Scale(1.2, 1.4, 300, 0.3),
    Scale(1.4, 1.8, 380, 0.4),
    Scale(1.6, 2.2, 456, 0.4, 1e-3, 0.99),
    Scale(1.8, 2.6, 528, 0.5, 1e-3, 0.99),
    Scale(2.0, 3.1, 600, 0.5, 1e-3, 0.99),
)
"""B0 to B7."""


def _scaled(channels: int, width: float) -> int:
    """Scale and round to a multiple of 8, but by no more than a tenth down."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def efficientnet_spec(variant: int = 0, classes: int = 1000, *, channels: int = 3) -> Spec:
    """Describe the parameters and the state of `efficientnet`.

    Args:
        variant: 0 to 7, for B0 to B7.
        classes: how many logits the network returns.
        channels: of the images.

    Returns:
        A spec with `stem`, `stages` (seven lists of blocks), `head` and `fc`.

    Raises:
        ValueError: if there is no such variant.

    Example:
        >>> from jaxnets import count_parameters
        >>> [count_parameters(efficientnet_spec(variant)) for variant in (0, 1, 7)]
        [5288548, 7794184, 66347960]
    """
    scale = _scale(variant)
    before = _scaled(STEM_CHANNELS, scale.width)
    spec: dict[str, Any] = {"stem": nn.conv_norm_spec(channels, before, (3, 3))}
    stages = []
    for stage in STAGES:
        after = _scaled(stage.channels, scale.width)
        ins = [before] + [after] * (math.ceil(stage.blocks * scale.depth) - 1)
        stages.append([_block_spec(stage, size, after) for size in ins])
        before = after
    head = 4 * before
    return spec | {
        "stages": stages,
        "head": nn.conv_norm_spec(before, head, (1, 1)),
        "fc": nn.linear_spec(
            head, classes, kernel_init=jax.nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        ),
    }


def _scale(variant: int) -> Scale:
    if variant not in range(len(EFFICIENTNET_SCALES)):
        raise ValueError(
            f"efficientnet: variant must be 0 to {len(EFFICIENTNET_SCALES) - 1}, for B0 to B7; got {variant!r}"
        )
    return EFFICIENTNET_SCALES[variant]


def _block_spec(stage: Stage, before: int, after: int) -> Spec:
    middle = stage.expansion * before
    kernel_size = (stage.kernel_size, stage.kernel_size)
    return {
        **({"expand": nn.conv_norm_spec(before, middle, (1, 1))} if stage.expansion > 1 else {}),
        "depthwise": nn.conv_norm_spec(middle, middle, kernel_size, convolution_spec=_depthwise_spec),
        "excitation": nn.squeeze_excitation_spec(middle, max(1, before // 4)),
        "project": nn.conv_norm_spec(middle, after, (1, 1)),
    }


def _depthwise_spec(in_channels: int, out_channels: int, kernel_size: Any, **settings: Any) -> Spec:
    settings["kernel_init"] = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal", in_axis=(), batch_axis=-2)
    return nn.depthwise_conv_spec(in_channels, kernel_size, **settings)


def efficientnet_apply(
    params: Params,
    state: State,
    x: Array,
    *,
    key: Key | None = None,
    train: bool,
    rate: float = 0.2,
    drop_path_rate: float = 0.2,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> tuple[Array, State]:
    """A 3 x 3 convolution of stride 2, seven stages of inverted residual blocks, 1 x 1, the mean, and a linear layer.

    Args:
        params: as `efficientnet_spec` describes them.
        state: the running statistics of all norms.
        x: `[batch, height, width, channels]`, of any size; `EFFICIENTNET_SCALES` has the paper's.
        key: for dropout and drop path in training.
        train: whether dropout and drop path drop and batch norm uses the batch.
        rate: of the dropout before the last layer.
        drop_path_rate: of drop path in a block after the last; it grows with the depth from 0.
        epsilon: of batch norm.
        momentum: of batch norm.

    Returns:
        Logits `[batch, classes]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = efficientnet(0, 10)
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 224, 224, 3))).shape
        (1, 10)
    """
    norm: dict[str, Any] = {"epsilon": epsilon, "momentum": momentum, "train": train}
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
                rate=drop_path_rate * number / total,
                key=subkey(key, f"block{number}"),
                **norm,
            )
            new_states.append(new_state)
            number += 1
        stages.append(new_states)
    x, head = unit(params["head"], state["head"], x)
    x = nn.dropout(nn.global_avg_pool(x), rate, key=subkey(key, "dropout"), train=train)
    return nn.linear(params["fc"], x), {"stem": stem, "stages": stages, "head": head}


def inverted_residual(
    params: Params,
    state: State,
    x: Array,
    *,
    stride: int,
    rate: float,
    key: Key | None = None,
    train: bool,
    **norm: Any,
) -> tuple[Array, State]:
    """Widen by 1 x 1, convolve each channel, weigh the channels, narrow by 1 x 1, and add x where the sizes agree.

    Args:
        params: `expand` (if it widens), `depthwise`, `excitation` and `project`.
        state: the running statistics of the three norms.
        x: `[batch, height, width, channels]`.
        stride: of the depthwise convolution.
        rate: of drop path, where x is added.
        key: for drop path in training.
        train: whether drop path drops and batch norm uses the batch.
        **norm: settings of `batch_norm`: `epsilon`, `momentum`.

    Returns:
        `[batch, height', width', channels']`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, state = init(efficientnet_spec(0)["stages"][0][0], jax.random.key(0))
        >>> inverted_residual(params, state, jnp.ones((1, 8, 8, 32)), stride=1, rate=0.0, train=False)[0].shape
        (1, 8, 8, 16)

    Reference:
        Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018; Tan et
        al.: MnasNet: Platform-Aware Neural Architecture Search for Mobile, 2018.
    """
    unit: Callable[..., tuple[Array, State]] = functools.partial(nn.conv_norm, train=train, **norm)
    y, new_state = x, {}
    if "expand" in params:
        y, new_state["expand"] = unit(params["expand"], state["expand"], y, activation=jax.nn.silu)
    y, new_state["depthwise"] = unit(
        params["depthwise"],
        state["depthwise"],
        y,
        convolution=nn.depthwise_conv,
        stride=stride,
        padding=params["depthwise"]["conv"]["kernel"].shape[0] // 2,
        activation=jax.nn.silu,
    )
    y = nn.squeeze_excitation(params["excitation"], y, activation=jax.nn.silu)
    y, new_state["project"] = unit(params["project"], state["project"], y)
    if stride == 1 and y.shape == x.shape:
        y = x + nn.drop_path(y, rate, key=key, train=train)
    return y, new_state


def efficientnet(variant: int = 0, classes: int = 1000, *, channels: int = 3, drop_path_rate: float = 0.2) -> Model:
    """Make EfficientNet-B0 to B7.

    Args:
        variant: 0 to 7.
        classes: how many logits it returns.
        channels: of the images.
        drop_path_rate: of drop path in a block after the last; it grows with the depth from 0.

    Returns:
        The model; see `efficientnet_apply`.

    Raises:
        ValueError: if there is no such variant.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(efficientnet_spec(0))
        5288548

    Reference:
        Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019.

    Warning:
        Sizes, padding, dropout and batch norm's epsilon are torchvision's. The authors' program pads strided
        convolutions at the end only (`"SAME"`) and has epsilon 0.001 in all variants; their weights do not fit.
    """
    scale = _scale(variant)

    def apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        return efficientnet_apply(
            params,
            state,
            x,
            key=key,
            train=train,
            rate=scale.rate,
            drop_path_rate=drop_path_rate,
            epsilon=scale.epsilon,
            momentum=scale.momentum,
        )

    return make_model(efficientnet_spec(variant, classes, channels=channels), apply)
