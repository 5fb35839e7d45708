"""The Vision Transformer, which reads an image as a sequence of square patches."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, ModelConfig, PositiveInt, Rate, build_model
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.nn.check import add_parameter, broadcast_parameter
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import ArraySpec, Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State

_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class ViTConfig(ModelConfig):
    """The settings of `vit`; by default ViT-B/16.

    ===== ====== ===== ======== =====================================
    ViT   layers heads features parameters with patch_size 16
    ===== ====== ===== ======== =====================================
    Tiny  12     3     192      5,717,416
    Small 12     6     384      22,050,664
    Base  12     12    768      86,567,656
    Large 24     16    1024     304,326,632
    ===== ====== ===== ======== =====================================

    Attributes:
        image_size: height and width of the images in pixels.
        patch_size: height and width of a patch, a divisor of `image_size`.
        classes: how many logits the network returns.
        channels: of the images.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a patch within the network.
        hidden: of the blocks' hidden layers; None for four times `features`.
        dropout_rate: the probability to drop an entry of the embeddings and of what blocks add.
        attention_dropout_rate: the probability to drop an attention weight.
        remat: whether the backward pass computes the blocks again instead of storing their values.

    Example:
        >>> ViTConfig(image_size=224, patch_size=15)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: ViTConfig: patch_size must divide image_size, got 15 and 224
    """

    image_size: PositiveInt = 224
    patch_size: PositiveInt = 16
    classes: PositiveInt = 1000
    channels: PositiveInt = 3
    layers: PositiveInt = 12
    heads: PositiveInt = 12
    features: PositiveInt = 768
    hidden: PositiveInt | None = None
    dropout_rate: Rate = 0.0
    attention_dropout_rate: Rate = 0.0
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for part, whole in (("patch_size", "image_size"), ("heads", "features")):
            sizes = getattr(self, part), getattr(self, whole)
            if sizes[1] % sizes[0]:
                raise SettingError(f"ViTConfig: {part} must divide {whole}, got {sizes[0]} and {sizes[1]}")


def _spec(config: ViTConfig) -> Spec:
    """`patches`, `class_token`, `positions`, `blocks` (stacked), `norm` and `fc`."""
    count = (config.image_size // config.patch_size) ** 2
    xavier, zeros = jax.nn.initializers.xavier_uniform(), jax.nn.initializers.zeros
    normal = jax.nn.initializers.normal(0.02)
    features = config.features
    block = nn.transformer_block_spec(features, heads=config.heads, hidden=config.hidden, kernel_init=xavier)
    return {
        "patches": nn.conv_spec(config.channels, features, (config.patch_size, config.patch_size)),
        "class_token": ArraySpec((1, 1, features), zeros, axes=(None, None, "features")),
        "positions": ArraySpec((1, count + 1, features), normal, axes=(None, "positions", "features")),
        "blocks": repeat_spec(block, config.layers),
        "norm": nn.layer_norm_spec(features),
        "fc": nn.linear_spec(features, config.classes, kernel_init=zeros),
    }


def _apply(
    config: ViTConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Make a vector of each patch, put the class token before them, add positions, run the blocks, read the token."""
    size = config.patch_size
    x = nn.conv(params["patches"], x, stride=size, padding="VALID")
    x = x.reshape((x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))
    positions = params["positions"]
    if x.shape[1] + 1 != positions.shape[1]:
        raise ValueError(
            f"vit: the positions are for {positions.shape[1] - 1} patches of {size} x {size} pixels, got {x.shape[1]}; "
            "resize the images, or make the network with their image_size"
        )
    token = broadcast_parameter(params["class_token"], (x.shape[0], 1, x.shape[-1]), x.dtype)
    x = add_parameter(jnp.concatenate([token, x], axis=1), positions)
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "embeddings"), train=train)

    block = functools.partial(
        nn.transformer_block,
        activation=ACTIVATIONS["gelu_exact"],
        epsilon=_EPSILON,
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    x = repeat(block, params["blocks"], x, key=subkey(key, "blocks"), remat=config.remat, unroll=4)
    return nn.linear(params["fc"], nn.layer_norm(params["norm"], x[:, 0], epsilon=_EPSILON)), state


def vit(config: ViTConfig = ViTConfig()) -> Model:
    """Make the network: patches, a class token and positions, blocks, and a linear layer of the token's vector.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]`, of the size that the config names, to logits
        `[batch, classes]`. Apply raises a ValueError for images of another size.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = vit(ViTConfig(image_size=32, patch_size=4, classes=10, layers=2, heads=2, features=16))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((3, 32, 32, 3)), train=False)[0].shape
        (3, 10)

    Reference:
        Dosovitskiy et al., An Image is Worth 16x16 Words, 2020.

    Warning:
        As in torchvision, the last layer is initialized as zeros. Dropout acts on the hidden layers' results only, not
        between their two linear layers, where torchvision has it too.
    """
    return build_model(config, ViTConfig, _spec, _apply)
