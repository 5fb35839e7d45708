"""The Vision Transformer, which reads an image as a sequence of square patches."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import ArraySpec, Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State

_EPSILON = 1e-6


def vit_spec(
    image_size: int = 224,
    patch_size: int = 16,
    classes: int = 1000,
    *,
    channels: int = 3,
    layers: int = 12,
    heads: int = 12,
    features: int = 768,
    hidden: int | None = None,
) -> Spec:
    """Describe the parameters of `vit`.

    Args:
        image_size: height and width of the images in pixels.
        patch_size: height and width of a patch, a divisor of `image_size`.
        classes: how many logits the network returns.
        channels: of the images.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a patch within the network.
        hidden: of the blocks' hidden layers; None for four times `features`.

    Returns:
        A spec with `patches`, `class_token`, `positions`, `blocks` (stacked), `norm` and `fc`.

    Raises:
        ValueError: if patches do not tile the image, or heads do not divide `features`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(vit_spec())
        86567656
    """
    if image_size % patch_size:
        raise ValueError(f"vit: patch_size must divide image_size, got {patch_size} and {image_size}")
    count = (image_size // patch_size) ** 2
    xavier, zeros = jax.nn.initializers.xavier_uniform(), jax.nn.initializers.zeros
    normal = jax.nn.initializers.normal(0.02)
    block = nn.transformer_block_spec(features, heads=heads, hidden=hidden, kernel_init=xavier)
    return {
        "patches": nn.conv_spec(channels, features, (patch_size, patch_size)),
        "class_token": ArraySpec((1, 1, features), zeros, axes=(None, None, "features")),
        "positions": ArraySpec((1, count + 1, features), normal, axes=(None, "positions", "features")),
        "blocks": repeat_spec(block, layers),
        "norm": nn.layer_norm_spec(features),
        "fc": nn.linear_spec(features, classes, kernel_init=zeros),
    }


def vit_apply(
    params: Params,
    state: State,
    x: Array,
    *,
    key: Key | None = None,
    train: bool,
    rate: float | Array = 0.0,
    remat: bool = False,
) -> tuple[Array, State]:
    """Make a vector of each patch, put the class token before them, add positions, run the blocks, and read the token.

    Args:
        params: as `vit_spec` describes them.
        state: `{}`.
        x: `[batch, height, width, channels]`, of the size that the positions are for.
        key: for dropout.
        train: whether dropout drops.
        rate: the probability to drop an entry of the embeddings and of what blocks add.
        remat: whether the backward pass computes the blocks again instead of storing their values.

    Returns:
        Logits `[batch, classes]`, and the state.

    Raises:
        ValueError: if the image has another size, or a key is missing.
        TypeError: if `x` is not floating point.

    Example:
        >>> model = vit(32, 4, 10, layers=2, heads=2, features=16)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((3, 32, 32, 3)), train=False)[0].shape
        (3, 10)
    """
    size = params["patches"]["kernel"].shape[0]
    x = nn.conv(params["patches"], x, stride=size, padding="VALID")
    x = x.reshape((x.shape[0], -1, x.shape[-1]))
    positions = params["positions"].astype(x.dtype)
    if x.shape[1] + 1 != positions.shape[1]:
        raise ValueError(
            f"vit: the positions are for {positions.shape[1] - 1} patches of {size} x {size} pixels, got {x.shape[1]}; "
            "resize the images, or make the network with their image_size"
        )
    token = jnp.broadcast_to(params["class_token"].astype(x.dtype), (x.shape[0], 1, x.shape[-1]))
    x = jnp.concatenate([token, x], axis=1) + positions
    x = nn.dropout(x, rate, key=subkey(key, "embeddings"), train=train)

    gelu = functools.partial(jax.nn.gelu, approximate=False)
    block = functools.partial(nn.transformer_block, activation=gelu, epsilon=_EPSILON, rate=rate, train=train)
    x = repeat(block, params["blocks"], x, key=subkey(key, "blocks"), remat=remat, unroll=4)
    return nn.linear(params["fc"], nn.layer_norm(params["norm"], x[:, 0], epsilon=_EPSILON)), state


def vit(
    image_size: int = 224,
    patch_size: int = 16,
    classes: int = 1000,
    *,
    rate: float | Array = 0.0,
    remat: bool = False,
    **sizes: Any,
) -> Model:
    """Make the network; by default ViT-B/16, of 86,567,656 parameters.

    Tiny has `heads=3, features=192`, Small `heads=6, features=384`, Large `layers=24, heads=16, features=1024`.

    Args:
        image_size: height and width of the images in pixels.
        patch_size: height and width of a patch, a divisor of `image_size`.
        classes: how many logits it returns.
        rate: of dropout.
        remat: whether the backward pass computes the blocks again instead of storing their values.
        **sizes: as in `vit_spec`.

    Returns:
        The model; see `vit_apply`.

    Raises:
        ValueError: if patches do not tile the image, or heads do not divide `features`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(vit_spec(32, 4, 10, heads=3, features=192))
        5362762

    Reference:
        Dosovitskiy et al., An Image is Worth 16x16 Words, 2020.

    Warning:
        As in torchvision, the last layer starts as zeros and dropout also acts on the hidden layers' results only, not
        between their two linear layers, where torchvision has it too.
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        return vit_apply(params, state, x, key=key, train=train, rate=rate, remat=remat)

    return make_model(vit_spec(image_size, patch_size, classes, **sizes), apply)
