"""EfficientNet-Lite: EfficientNet without what small devices compute slowly."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Annotated, Any

import jax

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveFloat, PositiveInt, Rate, build_model, one_of
from jaxnets.model import Model
from jaxnets.models.efficientnet import (
    STAGES,
    STEM_CHANNELS,
    inverted_residual,
    inverted_residual_spec,
    scaled_channels,
)
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_HEAD_CHANNELS = 1280


@dataclasses.dataclass(frozen=True)
class EfficientNetLiteConfig(ModelConfig):
    """The settings of `efficientnet_lite`; by default Lite0; `efficientnet_lite_config` has the others'.

    Attributes:
        classes: how many logits the network returns.
        channels: of the images.
        width: factor of the channels of the blocks; those of the first and the last convolution stay.
        depth: factor of the blocks a stage; the first and the last stage stay.
        dropout_rate: of the dropout before the last layer.
        drop_path_rate: of drop path in a block after the last; it grows with the depth from 0.
        padding: of the convolutions: `"SAME"` as in TensorFlow, which the published weights expect, or `"half"` the
            kernel on each side, as in PyTorch. They differ where the stride is 2.
        epsilon: of batch norm.
        momentum: of batch norm.
    """

    classes: PositiveInt = 1000
    channels: PositiveInt = 3
    width: PositiveFloat = 1.0
    depth: PositiveFloat = 1.0
    dropout_rate: Rate = 0.2
    drop_path_rate: Rate = 0.2
    padding: Annotated[str, one_of(("SAME", "half"))] = "SAME"
    epsilon: PositiveFloat = 1e-3
    momentum: float = 0.99


_VARIANTS = (
    EfficientNetLiteConfig(),
    EfficientNetLiteConfig(depth=1.1),
    EfficientNetLiteConfig(width=1.1, depth=1.2, dropout_rate=0.3),
    EfficientNetLiteConfig(width=1.2, depth=1.4, dropout_rate=0.3),
    EfficientNetLiteConfig(width=1.4, depth=1.8, dropout_rate=0.3),
)


def efficientnet_lite_config(variant: int, **settings: Any) -> EfficientNetLiteConfig:
    """Return the config of EfficientNet-Lite0 to Lite4, with other settings where they are given.

    ======= ===== ===== ============ ====== ==========
    variant width depth dropout_rate images parameters
    ======= ===== ===== ============ ====== ==========
    0       1.0   1.0   0.2          224    4,652,008
    1       1.0   1.1   0.2          240    5,416,680
    2       1.1   1.2   0.3          260    6,092,072
    3       1.2   1.4   0.3          280    8,197,096
    4       1.4   1.8   0.3          300    13,006,568
    ======= ===== ===== ============ ====== ==========

    Images are the height and width, in pixels, of the published figures; the network takes any.

    Args:
        variant: 0 to 4.
        **settings: fields of `EfficientNetLiteConfig`.

    Raises:
        ValueError: if there is no such variant, or a setting is not allowed.

    Example:
        >>> config = efficientnet_lite_config(2, classes=10)
        >>> config.depth, config.classes
        (1.2, 10)
    """
    if variant not in range(len(_VARIANTS)):
        raise ValueError(
            f"efficientnet_lite_config: variant must be 0 to {len(_VARIANTS) - 1}, for Lite0 to Lite4; got {variant!r}"
        )
    return dataclasses.replace(_VARIANTS[variant], **settings)


def _spec(config: EfficientNetLiteConfig) -> Spec:
    """`stem`, `blocks` (one list of all stages), `head` and `fc`."""
    before = STEM_CHANNELS
    spec: dict[str, Any] = {"stem": nn.conv_norm_spec(config.channels, before, (3, 3))}
    blocks = []
    for stage, _ in _block_strides(config):
        after = scaled_channels(stage.channels, config.width)
        blocks.append(inverted_residual_spec(stage, before, after, excitation=False))
        before = after
    return spec | {
        "blocks": blocks,
        "head": nn.conv_norm_spec(before, _HEAD_CHANNELS, (1, 1)),
        "fc": nn.linear_spec(
            _HEAD_CHANNELS,
            config.classes,
            kernel_init=jax.nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform"),
        ),
    }


def _block_strides(config: EfficientNetLiteConfig) -> list[tuple[Any, int]]:
    """The stage of every block, and its stride."""
    blocks = []
    for number, stage in enumerate(STAGES):
        fixed = number in (0, len(STAGES) - 1)
        count = stage.blocks if fixed else math.ceil(stage.blocks * config.depth)
        blocks += [(stage, 1 if position else stage.stride) for position in range(count)]
    return blocks


def _apply(
    config: EfficientNetLiteConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """A 3 x 3 convolution of stride 2, inverted residual blocks, a 1 x 1 convolution, the mean, a linear layer."""
    norm: dict[str, Any] = {"epsilon": config.epsilon, "momentum": config.momentum, "train": train}
    unit: Callable[..., tuple[Array, State]] = functools.partial(nn.conv_norm, activation=jax.nn.relu6, **norm)
    x, stem = unit(params["stem"], state["stem"], x, stride=2, padding="SAME" if config.padding == "SAME" else 1)
    blocks = []
    for number, (_, stride) in enumerate(_block_strides(config)):
        x, new_state = inverted_residual(
            params["blocks"][number],
            state["blocks"][number],
            x,
            stride=stride,
            drop_path_rate=config.drop_path_rate * number / len(params["blocks"]),
            activation=jax.nn.relu6,
            padding="SAME" if config.padding == "SAME" else None,
            key=subkey(key, f"block{number}"),
            **norm,
        )
        blocks.append(new_state)
    x, head = unit(params["head"], state["head"], x)
    x = nn.dropout(nn.global_avg_pool(x), config.dropout_rate, key=subkey(key, "dropout"), train=train)
    return nn.linear(params["fc"], x), {"stem": stem, "blocks": blocks, "head": head}


def efficientnet_lite(config: EfficientNetLiteConfig = EfficientNetLiteConfig()) -> Model:
    """Make an EfficientNet-Lite: no squeeze and excitation, and $min(max(x, 0), 6)$ as activation.

    `efficientnet_lite_config(variant)` has the settings of Lite0 to Lite4.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` of any size to logits `[batch, classes]`. It needs a key
        in training, and its state holds the running statistics of all norms.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = efficientnet_lite(efficientnet_lite_config(0, classes=10))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 224, 224, 3))).shape
        (1, 10)

    Reference:
        Liu, EfficientNet-Lite, 2020, in Google's `tpu` repository; Tan, Le: EfficientNet: Rethinking Model Scaling for
        Convolutional Neural Networks, 2019.

    Warning:
        The published weights expect images $(x - 127) / 128$ of pixels 0 to 255. They are TensorFlow's, also where a
        PyTorch program reads them: keep `padding="SAME"` for them.
    """
    return build_model(config, EfficientNetLiteConfig, _spec, _apply)
