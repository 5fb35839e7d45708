"""Residual networks for large images."""

from __future__ import annotations

from typing import Any

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""How many blocks each stage has."""
_FIRST_BOTTLENECK = 50


def resnet_spec(depth: int = 50, classes: int = 1000, *, channels: int = 3, width: int = 64) -> Spec:
    """Describe the parameters and the state of `resnet`.

    Args:
        depth: 18 or 34, of basic blocks; 50, 101 or 152, of bottleneck blocks.
        classes: how many logits the network returns.
        channels: of the images.
        width: channels of the first stage; each later one has twice those of the one before.

    Returns:
        A spec with `stem`, `stages` and `fc`. Of each stage the blocks after the first are stacked.

    Raises:
        ValueError: if there is no ResNet of that depth.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(resnet_spec(50))
        25557032
    """
    if depth not in DEPTHS:
        raise ValueError(f"resnet: depth must be one of {', '.join(map(str, DEPTHS))}; got {depth!r}")
    bottleneck = depth >= _FIRST_BOTTLENECK
    block_spec = nn.bottleneck_block_spec if bottleneck else nn.basic_block_spec
    expansion = nn.BOTTLENECK_EXPANSION if bottleneck else 1
    stages, before = [], width
    for number, count in enumerate(DEPTHS[depth]):
        inner = width * 2**number
        after = expansion * inner
        first = block_spec(before, inner, projection=before != after)
        stages.append(nn.residual_stage_spec(first, block_spec(after, inner), count))
        before = after
    return {
        "stem": nn.conv_norm_spec(channels, width, (7, 7)),
        "stages": stages,
        "fc": nn.linear_spec(before, classes),
    }


def resnet_apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
    """A 7 x 7 convolution of stride 2, max pooling, four stages of residual blocks, the mean, and a linear layer.

    Args:
        params: as `resnet_spec` describes them.
        state: the running statistics of all norms.
        x: `[batch, height, width, channels]`, of any size; the published figures are for 224 x 224.
        key: not used.
        train: whether batch norm uses the batch.

    Returns:
        Logits `[batch, classes]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = resnet(18, 10, width=8)
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 33, 33, 3))).shape
        (1, 10)
    """
    x, stem = nn.conv_norm(params["stem"], state["stem"], x, stride=2, padding=3, activation=jax.nn.relu, train=train)
    x = nn.max_pool(x, (3, 3), stride=2, padding=1)
    stages = []
    for number, (stage, stage_state) in enumerate(zip(params["stages"], state["stages"], strict=True)):
        block = nn.bottleneck_block if "conv3" in stage["first"] else nn.basic_block
        x, new_stage = nn.residual_stage(block, stage, stage_state, x, stride=2 if number else 1, train=train)
        stages.append(new_stage)
    return nn.linear(params["fc"], nn.global_avg_pool(x)), {"stem": stem, "stages": stages}


def resnet(depth: int = 50, classes: int = 1000, **sizes: Any) -> Model:
    """Make a residual network: 18, 34, 50, 101 or 152 layers.

    Args:
        depth: 18 or 34, of basic blocks; 50, 101 or 152, of bottleneck blocks with the stride in the 3 x 3
            convolution, as in torchvision and timm.
        classes: how many logits it returns.
        **sizes: as in `resnet_spec`.

    Returns:
        The model; see `resnet_apply`.

    Raises:
        ValueError: if there is no ResNet of that depth.

    Example:
        >>> from jaxnets import count_parameters
        >>> {depth: count_parameters(resnet_spec(depth)) for depth in (18, 34, 101, 152)}
        {18: 11689512, 34: 21797672, 101: 44549160, 152: 60192808}

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
    """
    return make_model(resnet_spec(depth, classes, **sizes), resnet_apply)
