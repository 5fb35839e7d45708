"""The two networks of a DCGAN: one that makes images of noise, and one that tells them from real ones."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model, one_of
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, DTypeLike, Key, Params, State

_SIZES: Mapping[int, tuple[int, int]] = {28: (7, 2), 32: (4, 3), 64: (4, 4)}
"""For each size of images, the size of the smallest features, and how often it is doubled."""
_WINDOW = (4, 4)
_SLOPE = 0.2


@dataclasses.dataclass(frozen=True)
class DCGANGeneratorConfig(ModelConfig):
    """The settings of `dcgan_generator`; by default those of the paper, for images of 64 x 64 pixels.

    Attributes:
        image_size: height and width of the images in pixels: 28, 32 or 64.
        channels: of the images.
        noise: how many random numbers become an image.
        width: channels of the last hidden layer; each layer before has twice as many as the next one.

    Example:
        >>> DCGANGeneratorConfig(image_size=48)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: DCGANGeneratorConfig: image_size must be one of 28, 32, 64, got 48
    """

    image_size: Annotated[int, one_of(_SIZES)] = 64
    channels: PositiveInt = 3
    noise: PositiveInt = 100
    width: PositiveInt = 128


@dataclasses.dataclass(frozen=True)
class DCGANDiscriminatorConfig(ModelConfig):
    """The settings of `dcgan_discriminator`; by default those of the paper, for images of 64 x 64 pixels.

    Attributes:
        image_size: height and width of the images in pixels: 28, 32 or 64.
        channels: of the images.
        width: channels of the first hidden layer; each layer has twice as many as the one before.
        norm: `"batch"` normalizes the results of all convolutions but the first and the last; `"spectral"` divides all
            kernels by their largest singular values; `"none"` does neither, as `losses.gradient_penalty` needs it.

    Example:
        >>> DCGANDiscriminatorConfig(image_size=28, channels=1, width=64, norm="spectral").norm
        'spectral'
    """

    image_size: Annotated[int, one_of(_SIZES)] = 64
    channels: PositiveInt = 3
    width: PositiveInt = 128
    norm: Annotated[str, one_of(("batch", "spectral", "none"))] = "batch"


def _widths(image_size: int, width: int) -> list[int]:
    """The channels of the hidden layers, from the largest image to the smallest."""
    return [width * 2**i for i in range(_SIZES[image_size][1])]


def _generator_spec(config: DCGANGeneratorConfig) -> Spec:
    """`fc`, `norm`, `blocks` of a transposed convolution and batch norm, and `out`."""
    *outer, first = _widths(config.image_size, config.width)
    widths = [first, *reversed(outer)]
    normal, size = jax.nn.initializers.normal(0.02), _SIZES[config.image_size][0]
    return {
        "fc": nn.linear_spec(config.noise, size * size * first, bias=False, kernel_init=normal),
        "norm": nn.batch_norm_spec(first, scale_init=_near_one),
        "blocks": [
            {
                "conv": nn.conv_transpose_spec(before, after, _WINDOW, bias=False, kernel_init=normal),
                "norm": nn.batch_norm_spec(after, scale_init=_near_one),
            }
            for before, after in itertools.pairwise(widths)
        ],
        "out": nn.conv_transpose_spec(widths[-1], config.channels, _WINDOW, kernel_init=normal),
    }


def _near_one(key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def _generate(
    config: DCGANGeneratorConfig, params: Params, state: State, noise: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Make small features of the noise, and double their size again and again."""
    size = _SIZES[config.image_size][0]
    x = nn.linear(params["fc"], noise)
    x = x.reshape((x.shape[0], size, size, x.shape[-1] // size**2))
    x, norm = nn.batch_norm(params["norm"], state["norm"], x, train=train)
    x, blocks = jax.nn.relu(x), []
    for own, statistics in zip(params["blocks"], state["blocks"], strict=True):
        x = nn.conv_transpose(own["conv"], x, stride=2)
        x, new = nn.batch_norm(own["norm"], statistics["norm"], x, train=train)
        x = jax.nn.relu(x)
        blocks.append({"norm": new})
    return jnp.tanh(nn.conv_transpose(params["out"], x, stride=2)), {"norm": norm, "blocks": blocks}


def _discriminator_spec(config: DCGANDiscriminatorConfig) -> Spec:
    """`blocks` of a convolution and, but for the first, batch norm if there is one, and `out`."""
    normal, size = jax.nn.initializers.normal(0.02), _SIZES[config.image_size][0]
    widths = [config.channels, *_widths(config.image_size, config.width)]
    blocks = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        normed = config.norm == "batch" and i > 0
        conv = nn.conv_spec(before, after, _WINDOW, bias=not normed, kernel_init=normal)
        norm = {"norm": nn.batch_norm_spec(after, scale_init=_near_one)} if normed else {}
        blocks.append({"conv": _bounded(config, conv), **norm})
    out = nn.conv_spec(widths[-1], 1, (size, size), kernel_init=normal)
    return {"blocks": blocks, "out": _bounded(config, out)}


def _bounded(config: DCGANDiscriminatorConfig, spec: Spec) -> Spec:
    return nn.spectral_norm_spec(spec) if config.norm == "spectral" else spec


def _discriminate(
    config: DCGANDiscriminatorConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Halve the size of the image again and again, and make one number of what remains."""
    expected = (config.image_size, config.image_size, config.channels)
    if x.ndim != 4 or x.shape[1:] != expected:
        raise ValueError(f"dcgan: images must be [batch, {', '.join(map(str, expected))}], got {list(x.shape)}")
    blocks = []
    for own, statistics in zip(params["blocks"], state.get("blocks", [{} for _ in params["blocks"]]), strict=True):
        x, new = _strided(own, statistics, x, train)
        blocks.append(new)
    new_state = {"blocks": blocks} if "blocks" in state else {}
    out = params["out"]
    if "out" in state:
        out, new_state["out"] = nn.spectral_norm(out, state["out"], train=train)
    return nn.conv(out, x, padding="VALID").reshape(x.shape[0]), new_state


def _strided(params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
    """A convolution that halves the size, with the norm that there is, and leaky ReLU."""
    conv, new = params["conv"], {}
    if "conv" in state:
        conv, new["conv"] = nn.spectral_norm(conv, state["conv"], train=train)
    x = nn.conv(conv, x, stride=2, padding=1)
    if "norm" in params:
        x, new["norm"] = nn.batch_norm(params["norm"], state["norm"], x, train=train)
    return jax.nn.leaky_relu(x, _SLOPE), new


def dcgan_generator(config: DCGANGeneratorConfig = DCGANGeneratorConfig()) -> Model:
    """Make the network that makes images: a linear layer, then transposed convolutions that double the size.

    Each has a 4 x 4 kernel and stride 2, with batch norm and ReLU, the last one tanh.

    Args:
        config: the settings.

    Returns:
        A model from noise `[batch, noise]`, of the standard normal distribution, to images
        `[batch, image_size, image_size, channels]` in [-1, 1].

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = dcgan_generator(DCGANGeneratorConfig(image_size=28, channels=1, noise=16, width=8))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((3, 16)), train=False)[0].shape
        (3, 28, 28, 1)

    Reference:
        Radford, Metz, Chintala, Unsupervised representation learning with deep convolutional generative adversarial
        networks, 2016.

    Warning:
        The paper draws noise uniformly from [-1, 1]; most programs have made it normal. PyTorch's example writes the
        linear layer as a transposed convolution of one pixel, and has half the width.
    """
    return build_model(config, DCGANGeneratorConfig, _generator_spec, _generate)


def dcgan_discriminator(config: DCGANDiscriminatorConfig = DCGANDiscriminatorConfig()) -> Model:
    """Make the network that judges images: convolutions that halve the size, then one over all that remains.

    Each has a 4 x 4 kernel and stride 2, with the norm that the config names and leaky ReLU of slope 0.2.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, image_size, image_size, channels]` to scores `[batch]`, what comes before a sigmoid
        (see `losses.gan_discriminator`). Apply raises a ValueError for images of another size.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = dcgan_discriminator(DCGANDiscriminatorConfig(image_size=28, channels=1, width=8, norm="none"))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((3, 28, 28, 1)), train=False)[0].shape
        (3,)

    Reference:
        Radford, Metz, Chintala, 2016; with spectral norm: Miyato, Kataoka, Koyama, Yoshida, Spectral normalization for
        generative adversarial networks, 2018.

    Warning:
        Batch norm looks at all images of a batch together, so that it matters whether real and generated images come in
        one batch; the paper, and most programs, apply the network to each kind by itself.
    """
    return build_model(config, DCGANDiscriminatorConfig, _discriminator_spec, _discriminate)
