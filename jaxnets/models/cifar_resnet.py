"""Residual networks for images of 32 x 32 pixels."""

from __future__ import annotations

import functools
from typing import Any

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_STAGES = 3


def cifar_resnet_spec(depth: int = 20, classes: int = 10, *, channels: int = 3, width: int = 16) -> Spec:
    """Describe the parameters and the state of `cifar_resnet`.

    Args:
        depth: 6 n + 2 for n blocks a stage: 20, 32, 44, 56, 110, ...
        classes: how many logits the network returns.
        channels: of the images.
        width: channels of the first stage; the others have two and four times as many.

    Returns:
        A spec with `stem`, `stages` and `fc`. Of each stage the blocks after the first are stacked.

    Raises:
        ValueError: if the depth is not 6 n + 2.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(cifar_resnet_spec(20)), count_parameters(cifar_resnet_spec(56))
        (269722, 853018)
    """
    blocks, rest = divmod(depth - 2, 2 * _STAGES)
    if rest or blocks < 1:
        raise ValueError(f"cifar_resnet: depth must be 6 n + 2, such as 20, 32, 44, 56 or 110; got {depth!r}")
    stages, before = [], width
    for number in range(_STAGES):
        after = width * 2**number
        first, others = nn.basic_block_spec(before, after), nn.basic_block_spec(after, after)
        stages.append(nn.residual_stage_spec(first, others, blocks))
        before = after
    return {
        "stem": nn.conv_norm_spec(channels, width, (3, 3)),
        "stages": stages,
        "fc": nn.linear_spec(before, classes),
    }


def cifar_resnet_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool, residual: bool = True
) -> tuple[Array, State]:
    """A 3 x 3 convolution, three stages of basic blocks with shortcuts without parameters, the mean, a linear layer.

    Args:
        params: as `cifar_resnet_spec` describes them.
        state: the running statistics of all norms.
        x: `[batch, height, width, channels]`, of any size; the paper has 32 x 32.
        key: not used.
        train: whether batch norm uses the batch.
        residual: False leaves the shortcuts out: the paper's plain network, with the same parameters.

    Returns:
        Logits `[batch, classes]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = cifar_resnet(8, width=4)
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 32, 32, 3))).shape
        (1, 10)
    """
    x, stem = nn.conv_norm(params["stem"], state["stem"], x, padding=1, activation=jax.nn.relu, train=train)
    stages = []
    for number, (stage, stage_state) in enumerate(zip(params["stages"], state["stages"], strict=True)):
        x, new_stage = nn.residual_stage(
            nn.basic_block, stage, stage_state, x, stride=2 if number else 1, residual=residual, train=train
        )
        stages.append(new_stage)
    return nn.linear(params["fc"], nn.global_avg_pool(x)), {"stem": stem, "stages": stages}


def cifar_resnet(depth: int = 20, classes: int = 10, *, residual: bool = True, **sizes: Any) -> Model:
    """Make the paper's network for CIFAR-10: 20, 32, 44, 56, 110 layers, 16, 32 and 64 channels.

    Where the image shrinks, the shortcut takes every second position and adds channels of zeros (the paper's
    option A), so it has no parameters.

    Args:
        depth: 6 n + 2 for n blocks a stage.
        classes: how many logits it returns.
        residual: False leaves the shortcuts out: the paper's plain network, with the same parameters.
        **sizes: as in `cifar_resnet_spec`.

    Returns:
        The model; see `cifar_resnet_apply`.

    Raises:
        ValueError: if the depth is not 6 n + 2.

    Example:
        >>> spec = cifar_resnet_spec(20)
        >>> spec["stages"][2]["rest"]["conv1"]["conv"]["kernel"].shape
        (2, 3, 3, 64, 64)

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015, section 4.2.
    """
    apply = functools.partial(cifar_resnet_apply, residual=residual)
    return make_model(cifar_resnet_spec(depth, classes, **sizes), functools.wraps(cifar_resnet_apply)(apply))
