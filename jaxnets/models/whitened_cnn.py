"""A small convolutional network that learns CIFAR-10 in seconds: its first layer whitens patches and is not learned."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, ModelConfig, PositiveInt, Rule, build_model
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params, State

_MOMENTUM, _EPSILON = 0.6, 1e-12
_LOGIT_SCALE = 1 / 9


@dataclasses.dataclass(frozen=True)
class WhitenedCNNConfig(ModelConfig):
    """The settings of `whitened_cnn`; by default it has 1,971,640 parameters.

    Attributes:
        classes: how many logits the network returns.
        channels: of the images.
        widths: channels of the stages.
    """

    classes: PositiveInt = 10
    channels: PositiveInt = 3
    widths: Annotated[tuple[PositiveInt, ...], Rule("not empty", bool)] = (64, 256, 256)


def _spec(config: WhitenedCNNConfig) -> Spec:
    """`whitening`, `stages` and `fc`."""
    filters = 2 * config.channels * 4
    zeros = jax.nn.initializers.zeros
    uniform = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
    stages = []
    for before, width in itertools.pairwise((filters, *config.widths)):
        conv = functools.partial(nn.conv_spec, kernel_size=(3, 3), bias=False, kernel_init=keep_channels(uniform))
        norm = nn.batch_norm_spec(width, scale=False)
        stages.append({"conv1": conv(before, width), "norm1": norm, "conv2": conv(width, width), "norm2": norm})
    return {
        "whitening": nn.conv_spec(config.channels, filters, (2, 2), kernel_init=zeros, bias_init=zeros),
        "stages": stages,
        "fc": nn.linear_spec(config.widths[-1], config.classes, bias=False, kernel_init=uniform),
    }


def keep_channels(initializer: Initializer) -> Initializer:
    """Initialize a convolution so that its first channels are its input: a one at the center of the kernel.

    Args:
        initializer: initializes the kernels of the channels beyond those of the input.

    Returns:
        An initializer of kernels `[height, width, in, out]` of odd sizes.

    Example:
        >>> kernel = keep_channels(jax.nn.initializers.ones)(jax.random.key(0), (3, 3, 2, 3), jnp.float32)
        >>> kernel[1, 1]
        Array([[1., 0., 1.],
               [0., 1., 1.]], dtype=float32)

    Reference:
        Zagoruyko and Komodakis, DiracNets, 2017.
    """

    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        height, width, inputs, outputs = shape
        kept = min(inputs, outputs)
        kernel = initializer(key, shape, dtype).at[..., :kept].set(0)
        channel = jnp.arange(kept)
        return kernel.at[height // 2, width // 2, channel, channel].set(1)

    return initialize


def whitening_kernel(images: Array, *, epsilon: float = 5e-4) -> Array:
    """Make the kernel that turns 2 x 2 patches into uncorrelated features of equal variance, and their negatives.

    With the eigenvectors $v_i$ and eigenvalues $l_i$ of the patches' second moments: $k_i = v_i / sqrt(l_i + epsilon)$.

    Args:
        images: `[images, height, width, channels]`, standardized; some thousands are enough.
        epsilon: added to the eigenvalues.

    Returns:
        `[2, 2, channels, 8 * channels]`, float32.

    Example:
        >>> images = jax.random.normal(jax.random.key(0), (50, 8, 8, 3))
        >>> y = nn.conv({"kernel": whitening_kernel(images, epsilon=0.0)}, images, padding="VALID").reshape((-1, 24))
        >>> bool(jnp.allclose((y.T @ y / len(y))[:12, :12], jnp.eye(12), atol=1e-3))
        True

    Reference:
        Page, How to train your ResNet, 2019; Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.
    """
    height, width, channels = images.shape[1:]
    shifts = itertools.product(range(2), range(2))
    parts = [images[:, row : height - 1 + row, column : width - 1 + column] for row, column in shifts]
    patches = jnp.stack(parts, axis=-2).reshape((-1, 4 * channels)).astype(jnp.float32)
    moments = jnp.matmul(patches.T, patches, precision=jax.lax.Precision.HIGHEST) / len(patches)
    values, vectors = jnp.linalg.eigh(moments)
    kernel = (vectors / jnp.sqrt(values + epsilon)[None]).reshape((2, 2, channels, -1))
    return jnp.concatenate([kernel, -kernel], axis=-1)


def _apply(
    config: WhitenedCNNConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Whiten patches, run three stages of two convolutions with pooling between, read the maximum of each channel."""
    gelu = ACTIVATIONS["gelu_exact"]
    norm = functools.partial(nn.batch_norm, train=train, momentum=_MOMENTUM, epsilon=_EPSILON, warm_up=False)
    x = gelu(nn.conv(params["whitening"], x, padding="VALID"))
    stages = []
    for stage, before in zip(params["stages"], state["stages"], strict=True):
        x = nn.max_pool(nn.conv(stage["conv1"], x, padding=1), (2, 2))
        x, norm1 = norm(stage["norm1"], before["norm1"], x)
        x, norm2 = norm(stage["norm2"], before["norm2"], nn.conv(stage["conv2"], gelu(x), padding=1))
        x = gelu(x)
        stages.append({"norm1": norm1, "norm2": norm2})
    return nn.linear(params["fc"], nn.global_max_pool(x)) * _LOGIT_SCALE, {"stages": stages}


def whitened_cnn(config: WhitenedCNNConfig = WhitenedCNNConfig()) -> Model:
    """Make the network of the CIFAR-10 speedruns. Its whitening is initialized as zeros: put `whitening_kernel` there.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]`, of which 32 x 32 pixels leave 3 x 3 positions at the
        end, to logits `[batch, classes]`. Its state holds the running statistics of the norms.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = whitened_cnn(WhitenedCNNConfig(widths=(8, 8, 8)))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((2, 32, 32, 3))).shape
        (2, 10)

    Reference:
        Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.
    """
    return build_model(config, WhitenedCNNConfig, _spec, _apply)
