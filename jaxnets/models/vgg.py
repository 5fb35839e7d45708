"""VGG: stages of 3 x 3 convolutions, each followed by max pooling."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""How many convolutions each stage has."""
CHANNELS = (64, 128, 256, 512, 512)
_INIT = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def vgg_spec(
    depth: int = 16,
    classes: int = 1000,
    *,
    norm: bool = False,
    channels: int = 3,
    pooled: int = 7,
    hidden: Sequence[int] = (4096, 4096),
    width: float = 1.0,
) -> Spec:
    """Describe the parameters and the state of `vgg`.

    Args:
        depth: 11, 13, 16 or 19, the number of layers with kernels.
        classes: how many logits the network returns.
        norm: whether each convolution is followed by batch norm.
        channels: of the images.
        pooled: height and width to which the last stage is pooled; 1 for small images.
        hidden: units of the linear layers before the last; () for small images.
        width: a factor for the channels of all convolutions.

    Returns:
        A spec with `stages`, five lists of convolutions, and `classifier`, a list of linear layers.

    Raises:
        ValueError: if there is no VGG of that depth.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(vgg_spec(16))
        138357544
    """
    if depth not in DEPTHS:
        raise ValueError(f"vgg: depth must be one of {', '.join(map(str, DEPTHS))}; got {depth!r}")
    widths = [max(1, round(width * size)) for size in CHANNELS]
    stages = []
    for count, before, after in zip(DEPTHS[depth], [channels, *widths[:-1]], widths, strict=True):
        sizes = [before, *([after] * count)]
        stages.append([_conv_spec(*pair, norm) for pair in itertools.pairwise(sizes)])
    sizes = [pooled * pooled * widths[-1], *hidden, classes]
    pairs = itertools.pairwise(sizes)
    return {
        "stages": stages,
        "classifier": [nn.linear_spec(*pair, kernel_init=jax.nn.initializers.normal(0.01)) for pair in pairs],
    }


def _conv_spec(before: int, after: int, norm: bool) -> Spec:
    return (
        {"conv": nn.conv_spec(before, after, (3, 3), kernel_init=_INIT), "norm": nn.batch_norm_spec(after)}
        if norm
        else {"conv": nn.conv_spec(before, after, (3, 3), kernel_init=_INIT)}
    )


def vgg_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool, rate: float = 0.5
) -> tuple[Array, State]:
    """Run the stages, pool to a fixed size, and classify.

    Args:
        params: as `vgg_spec` describes them.
        state: the running statistics of batch norm, or `{}` without it.
        x: `[batch, height, width, channels]`, at least 32 x 32.
        key: for dropout in training.
        train: whether dropout drops and batch norm uses the batch.
        rate: of the dropout before each linear layer but the first.

    Returns:
        Logits `[batch, classes]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = vgg(11, 10, pooled=1, hidden=(), width=0.125)
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 32, 32, 3))).shape
        (1, 10)
    """
    states = state.get("stages", [[{}] * len(stage) for stage in params["stages"]])
    new_states = []
    for stage, stage_state in zip(params["stages"], states, strict=True):
        new_stage = []
        for unit, unit_state in zip(stage, stage_state, strict=True):
            x, new_unit = _unit(unit, unit_state, x, train)
            new_stage.append(new_unit)
        x = nn.max_pool(x, (2, 2))
        new_states.append(new_stage)
    classifier = params["classifier"]
    pooled = math.isqrt(classifier[0]["kernel"].shape[0] // x.shape[-1])
    x = nn.adaptive_avg_pool(x, (pooled, pooled)).reshape((x.shape[0], -1))
    for number, layer in enumerate(classifier):
        if number:
            x = nn.dropout(jax.nn.relu(x), rate, key=subkey(key, f"dropout{number}"), train=train)
        x = nn.linear(layer, x)
    return x, {"stages": new_states} if state else state


def _unit(params: Params, state: State, x: Array, train: bool) -> tuple[Array, State]:
    """A convolution, batch norm if there is one, and ReLU."""
    x = nn.conv(params["conv"], x)
    if "norm" not in params:
        return jax.nn.relu(x), state
    x, norm = nn.batch_norm(params["norm"], state["norm"], x, train=train)
    return jax.nn.relu(x), {"norm": norm}


def vgg(depth: int = 16, classes: int = 1000, *, rate: float = 0.5, **sizes: Any) -> Model:
    """Make a VGG: five stages of 3 x 3 convolutions with ReLU and max pooling, two linear layers of 4,096, a last one.

    Args:
        depth: 11, 13, 16 or 19, the number of layers with kernels.
        classes: how many logits it returns.
        rate: of dropout.
        **sizes: as in `vgg_spec`; `norm=True` is torchvision's `vgg16_bn` and so on, `pooled=1, hidden=()` is the
            usual form for 32 x 32 images.

    Returns:
        The model; see `vgg_apply`.

    Raises:
        ValueError: if there is no VGG of that depth.

    Example:
        >>> from jaxnets import count_parameters
        >>> {depth: count_parameters(vgg_spec(depth)) for depth in (11, 13, 19)}
        {11: 132863336, 13: 133047848, 19: 143667240}

    Reference:
        Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014.
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        return vgg_apply(params, state, x, key=key, train=train, rate=rate)

    return make_model(vgg_spec(depth, classes, **sizes), apply)
