"""U-Net: a class for every pixel, from features of many sizes."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, Rate, build_model, one_of
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_HE = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_UPSAMPLINGS = ("transposed", "bilinear")
_LEVELS = range(1, 17)


@dataclasses.dataclass(frozen=True)
class SegmentationUNetConfig(ModelConfig):
    """The settings of `segmentation_unet`; by default the network of the paper, with padding.

    Attributes:
        classes: how many logits each pixel gets.
        channels: of the images.
        width: channels at the full size; each level below has twice those of the one above.
        levels: how often the size is halved.
        norm: whether each 3 x 3 convolution is followed by batch norm, and then has no bias.
        upsampling: `"transposed"` for transposed convolutions of 2 x 2, `"bilinear"` for 1 x 1 convolutions and
            interpolation.
        dropout_rate: of the dropout after the lowest level.
    """

    classes: PositiveInt
    channels: PositiveInt = 3
    width: PositiveInt = 64
    levels: Annotated[int, one_of(_LEVELS)] = 4
    norm: bool = False
    upsampling: Annotated[str, one_of(_UPSAMPLINGS)] = "transposed"
    dropout_rate: Rate = 0.0


def _unit_spec(config: SegmentationUNetConfig, before: int, after: int) -> Spec:
    if config.norm:
        return nn.conv_norm_spec(before, after, (3, 3), kernel_init=_HE)
    return {"conv": nn.conv_spec(before, after, (3, 3), kernel_init=_HE)}


def _pair_spec(config: SegmentationUNetConfig, before: int, after: int) -> Spec:
    return {"unit1": _unit_spec(config, before, after), "unit2": _unit_spec(config, after, after)}


def _spec(config: SegmentationUNetConfig) -> Spec:
    """`down`, the pairs of convolutions from the full size on; `up`, the levels back; and `out`."""
    widths = [config.width * 2**level for level in range(config.levels + 1)]
    enlarge: Any = nn.conv_transpose_spec if config.upsampling == "transposed" else nn.conv_spec
    size = (2, 2) if config.upsampling == "transposed" else (1, 1)
    steps = zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
    return {
        "down": [
            _pair_spec(config, before, after)
            for before, after in zip((config.channels, *widths[:-1]), widths, strict=True)
        ],
        "up": [
            {"enlarge": enlarge(below, here, size), "pair": _pair_spec(config, 2 * here, here)} for below, here in steps
        ],
        "out": nn.conv_spec(config.width, config.classes, (1, 1)),
    }


def _unit(params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
    """A convolution, batch norm if the parameters have it, and ReLU."""
    if "norm" in params:
        return nn.conv_norm(params, state, x, activation=jax.nn.relu, train=train)
    return jax.nn.relu(nn.conv(params["conv"], x)), state


def _pair(params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
    x, unit1 = _unit(params["unit1"], state["unit1"], x, train)
    x, unit2 = _unit(params["unit2"], state["unit2"], x, train)
    return x, {"unit1": unit1, "unit2": unit2}


def _no_state(config: SegmentationUNetConfig) -> State:
    """The state of a network without norms, which `init` leaves out."""
    pair: State = {"unit1": {}, "unit2": {}}
    return {"down": [pair] * (config.levels + 1), "up": [{"pair": pair}] * config.levels}


def _enlarge(config: SegmentationUNetConfig, params: Params, x: Array) -> Array:
    """Double height and width, and halve the channels."""
    if config.upsampling == "transposed":
        return nn.conv_transpose(params, x, stride=2)
    # a 1 x 1 convolution and interpolation commute, and before it there are a quarter of the pixels
    return nn.upsample(nn.conv(params, x), 2, method="bilinear")


def _apply(
    config: SegmentationUNetConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Convolve and halve down to the lowest level; then double, join with the level's features, and convolve."""
    skips, down, up = [], [], []
    old = state if config.norm else _no_state(config)
    for level, (pair, pair_state) in enumerate(zip(params["down"], old["down"], strict=True)):
        if level:
            skips.append(x)
            x = nn.max_pool(x, (2, 2), padding="SAME")
        x, new_state = _pair(pair, pair_state, x, train)
        down.append(new_state)
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "dropout"), train=train)
    for step, step_state in zip(params["up"], old["up"], strict=True):
        skip = skips.pop()
        height, width = skip.shape[-3:-1]
        x = _enlarge(config, step["enlarge"], x)[..., :height, :width, :]
        x, new_state = _pair(step["pair"], step_state["pair"], jnp.concatenate([skip, x], axis=-1), train)
        up.append({"pair": new_state})
    return nn.conv(params["out"], x), {"down": down, "up": up} if config.norm else state


def segmentation_unet(config: SegmentationUNetConfig) -> Model:
    """Make a U-Net, which gives every pixel of an image a class.

    On the way down, pairs of 3 x 3 convolutions alternate with 2 x 2 max pooling; on the way up, each level is doubled,
    joined with the features of the same size on the way down, and convolved by another pair. The paper's network with
    `SegmentationUNetConfig(2, channels=1)` has 31,030,658 parameters.

    Images may have any size, because convolutions are padded. Where a size is odd, pooling takes its last row or column
    alone (45 becomes 23), and on the way up what was doubled loses its last one (46 becomes 45), so that every pixel
    lies above those of which it was pooled.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` to logits `[batch, height, width, classes]`. Its state
        holds the running statistics of all norms.

    Raises:
        TypeError: if the config is of another class.
        ValueError: by `apply`, without a key in training where there is dropout.

    Example:
        >>> import jax.numpy as jnp
        >>> model = segmentation_unet(SegmentationUNetConfig(11, width=2, norm=True))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 45, 30, 3))).shape
        (1, 45, 30, 11)

    Reference:
        Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015.

    Warning:
        The paper has no padding: an image of 572 x 572 gives 388 x 388 logits, and the features on the way down are
        cropped before they are joined. Other implementations pool without the last odd row and pad what is doubled, and
        their interpolation has 2 x 2 or 3 x 3 convolutions after it.
    """
    return build_model(config, SegmentationUNetConfig, _spec, _apply)
