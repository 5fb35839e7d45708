"""The U-Net of diffusion models, which is told the step, and maybe a class, of what it cleans."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import LayerSizes, ModelConfig, PositiveInt, Rate, Rule, build_model, check_inputs
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_TIME_FACTOR = 4
"""The condition has this many times as many features as the first block."""


@dataclasses.dataclass(frozen=True)
class DiffusionUNetConfig(ModelConfig):
    """The settings of `diffusion_unet`; by default those of the paper for CIFAR-10, with 35.7 million parameters.

    Attributes:
        image_size: height and width of the images in pixels; all levels but the last halve it.
        channels: of the images.
        classes: how many classes the network may be told; 0 for none. One more, with this number, means "no class".
        features: channels of the first level, even.
        multipliers: channels of each level, as multiples of `features`.
        blocks: residual blocks a level on the way down; on the way up there is one more.
        attention: heights of the images at which every block is followed by attention; it always is in the middle.
        heads: of attention.
        groups: of the group norms, a divisor of the channels of all levels.
        scaled: whether time and class scale the channels too, or are only added to them.
        dropout_rate: the probability to drop an entry within a residual block.

    Example:
        >>> DiffusionUNetConfig(image_size=30)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: DiffusionUNetConfig: 4 levels need an image_size that can be divided by 8, got 30
    """

    image_size: PositiveInt = 32
    channels: PositiveInt = 3
    classes: Annotated[int, Rule("at least 0", lambda value: value >= 0)] = 0
    features: Annotated[int, Rule("even and at least 2", lambda value: value >= 2 and value % 2 == 0)] = 128
    multipliers: LayerSizes = (1, 2, 2, 2)
    blocks: Annotated[int, Rule("from 1 to 100", lambda value: 1 <= value <= 100)] = 2
    attention: LayerSizes = (16,)
    heads: PositiveInt = 1
    groups: PositiveInt = 32
    scaled: bool = False
    dropout_rate: Rate = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        levels = len(self.multipliers)
        if not 1 <= levels <= 20:
            raise SettingError(f"DiffusionUNetConfig: multipliers must be of 1 to 20 levels, got {self.multipliers}")
        if self.image_size % 2 ** (levels - 1):
            raise SettingError(
                f"DiffusionUNetConfig: {levels} levels need an image_size that can be divided by {2 ** (levels - 1)}, "
                f"got {self.image_size}"
            )
        sizes = [self.image_size // 2**level for level in range(levels)]
        if unknown := sorted(set(self.attention) - set(sizes)):
            raise SettingError(f"DiffusionUNetConfig: attention must be at some of the sizes {sizes}, got {unknown}")
        for name, divisor in (("groups", self.groups), ("heads", self.heads)):
            if any(self.features * factor % divisor for factor in self.multipliers):
                widths = [self.features * factor for factor in self.multipliers]
                raise SettingError(f"DiffusionUNetConfig: {name} must divide the channels {widths}, got {divisor}")


class DiffusionInputs(NamedTuple):
    """The input of `diffusion_unet`.

    Attributes:
        x: images with noise, `[batch, height, width, channels]`.
        t: which step of the way to noise they are of, `[batch]`, integers or floating point.
        labels: int `[batch]`, of which class each image is to be, the number of classes for none of them; None if the
            network knows no classes.
    """

    x: Array
    t: Array
    labels: Array | None = None


def _spec(config: DiffusionUNetConfig) -> Spec:
    """`time1`, `time2`, `classes`, `first`, the levels `down`, `middle`, the levels `up`, `norm` and `last`."""
    condition = _TIME_FACTOR * config.features
    residual = functools.partial(nn.conditioned_block_spec, condition_features=condition, scaled=config.scaled)
    attends = functools.partial(nn.image_attention_spec, heads=config.heads)

    def block(level: int, before: int) -> Spec:
        here = config.image_size // 2**level in config.attention
        own = widths[level]
        return {"residual": residual(before, own), **({"attention": attends(own)} if here else {})}

    widths = [config.features * factor for factor in config.multipliers]
    skips, down, up = [config.features], [], []
    for level, width in enumerate(widths):
        blocks = [block(level, skips[-1] if i == 0 else width) for i in range(config.blocks)]
        skips += [width] * config.blocks
        down.append({"blocks": blocks})
        if level + 1 < len(widths):
            down[-1]["resize"] = nn.conv_spec(width, width, (3, 3))
            skips.append(width)
    width = widths[-1]
    middle = {"residual1": residual(width, width), "attention": attends(width), "residual2": residual(width, width)}
    for level in reversed(range(len(widths))):
        befores = [width] + [widths[level]] * config.blocks
        blocks = [block(level, before + skips.pop()) for before in befores]
        width = widths[level]
        up.append({"blocks": blocks, **({"resize": nn.conv_spec(width, width, (3, 3))} if level else {})})
    zeros = jax.nn.initializers.zeros
    return {
        "time1": nn.linear_spec(config.features, condition),
        "time2": nn.linear_spec(condition, condition),
        **({"classes": nn.embedding_spec(config.classes + 1, condition)} if config.classes else {}),
        "first": nn.conv_spec(config.channels, config.features, (3, 3)),
        "down": down,
        "middle": middle,
        "up": up,
        "norm": nn.group_norm_spec(width),
        "last": nn.conv_spec(width, config.channels, (3, 3), kernel_init=zeros),
    }


def _apply(
    config: DiffusionUNetConfig,
    params: Params,
    state: State,
    inputs: DiffusionInputs,
    *,
    key: Key | None = None,
    train: bool,
) -> tuple[Array, State]:
    """Go down and keep the results, go through the middle, and go up beside what was kept."""
    check_inputs(inputs, DiffusionInputs)
    _check_shapes(config, inputs)
    condition = _condition(config, params, inputs)

    def residual(own: Params, x: Array, name: str) -> Array:
        settings: dict[str, Any] = {"groups": config.groups, "dropout_rate": config.dropout_rate, "train": train}
        return nn.conditioned_block(own, x, condition, key=subkey(key, name), **settings)

    def block(own: Params, x: Array, name: str) -> Array:
        x = residual(own["residual"], x, name)
        return nn.image_attention(own["attention"], x, groups=config.groups) if "attention" in own else x

    x, kept = _down(params, inputs.x, block)
    middle = params["middle"]
    x = residual(middle["residual1"], x, "middle1")
    x = nn.image_attention(middle["attention"], x, groups=config.groups)
    x = residual(middle["residual2"], x, "middle2")
    x = _up(params, x, kept, block)
    x = jax.nn.silu(nn.group_norm(params["norm"], x, groups=config.groups))
    return nn.conv(params["last"], x), state


_Block = Callable[[Params, Array, str], Array]


def _down(params: Params, x: Array, block: _Block) -> tuple[Array, list[Array]]:
    """The smallest features, and the results of all layers on the way."""
    x = nn.conv(params["first"], x)
    kept = [x]
    for level, own in enumerate(params["down"]):
        for i, each in enumerate(own["blocks"]):
            x = block(each, x, f"down{level}-{i}")
            kept.append(x)
        if "resize" in own:
            x = nn.conv(own["resize"], x, stride=2, padding=1)
            kept.append(x)
    return x, kept


def _up(params: Params, x: Array, kept: list[Array], block: _Block) -> Array:
    """The largest features."""
    for level, own in enumerate(params["up"]):
        for i, each in enumerate(own["blocks"]):
            x = block(each, jnp.concatenate([x, kept.pop()], axis=-1), f"up{level}-{i}")
        if "resize" in own:
            x = nn.conv(own["resize"], nn.upsample(x, 2))
    return x


def _condition(config: DiffusionUNetConfig, params: Params, inputs: DiffusionInputs) -> Array:
    """The vector that says the step and the class, `[batch, features]`."""
    waves = nn.time_embedding(inputs.t, config.features, dtype=jnp.result_type(inputs.x))
    condition = nn.linear(params["time2"], jax.nn.silu(nn.linear(params["time1"], waves)))
    if inputs.labels is None:
        return condition
    return condition + nn.embedding(params["classes"], inputs.labels).astype(condition.dtype)


def _check_shapes(config: DiffusionUNetConfig, inputs: DiffusionInputs) -> None:
    x, t, labels = inputs
    expected = (config.image_size, config.image_size, config.channels)
    if x.ndim != 4 or x.shape[1:] != expected:
        raise ValueError(
            f"diffusion_unet: x must be [batch, {', '.join(map(str, expected))}], as the config says, got "
            f"{list(x.shape)}"
        )
    for name, given in (("t", t), ("labels", labels)):
        if given is not None and given.shape != x.shape[:1]:
            raise ValueError(f"diffusion_unet: {name} must be [{x.shape[0]}], one an image, got {list(given.shape)}")
    if config.classes and labels is None:
        raise ValueError(
            f"diffusion_unet: the network knows {config.classes} classes; pass labels, {config.classes} for no class"
        )
    if labels is not None and not config.classes:
        raise ValueError("diffusion_unet: the network knows no classes; pass no labels, or set classes in the config")


def diffusion_unet(config: DiffusionUNetConfig = DiffusionUNetConfig()) -> Model:
    """Make the network: residual blocks and attention on images that get smaller and larger again, with skips between.

    Residual blocks (`nn.conditioned_block`) are told the step t, as waves that go through two linear layers, plus a
    vector of the class. Convolutions of stride 2 halve the images; nearest neighbors and a convolution double them.

    Args:
        config: the settings.

    Returns:
        A model from `DiffusionInputs(x, t, labels)` to what is predicted of the images, like `x`: the noise, say; see
        `jaxnets.diffusion`. Apply raises a ValueError if shapes do not fit, or labels are missing.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> config = DiffusionUNetConfig(28, 1, classes=10, features=8, multipliers=(1, 2), attention=(14,), groups=4)
        >>> model = diffusion_unet(config)
        >>> params, state = model.init(jax.random.key(0))
        >>> inputs = DiffusionInputs(jnp.ones((3, 28, 28, 1)), jnp.array([0, 5, 9]), labels=jnp.array([7, 1, 10]))
        >>> model.apply(params, state, inputs, train=False)[0].shape
        (3, 28, 28, 1)

    Reference:
        Ho, Jain, Abbeel, Denoising diffusion probabilistic models, 2020; with scales and classes: Dhariwal, Nichol,
        Diffusion models beat GANs on image synthesis, 2021; a class for no class: Ho, Salimans, Classifier-free
        diffusion guidance, 2022.

    Warning:
        As in the paper's program, the last layer and the last one of each block are initialized as zeros, so that the
        network at first predicts 0; PyTorch programs often are not.
    """
    return build_model(config, DiffusionUNetConfig, _spec, _apply)
