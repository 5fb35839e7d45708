"""The residual blocks of ResNets, and stages of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.conv_norm import conv_norm, conv_norm_spec
from jaxnets.repeat import repeat
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, Params, State

BOTTLENECK_EXPANSION = 4
"""A bottleneck block returns this many times the channels of its middle."""


def basic_block_spec(in_channels: int, channels: int, *, projection: bool = False) -> Spec:
    """Describe the parameters and the state of `basic_block`.

    Args:
        in_channels: size of the input's last axis.
        channels: size of the result's last axis.
        projection: whether the shortcut has a 1 x 1 convolution.

    Returns:
        A spec with `conv1`, `conv2` and, if `projection`, `shortcut`, each as `conv_norm_spec` describes it.

    Example:
        >>> sorted(basic_block_spec(16, 32, projection=True))
        ['conv1', 'conv2', 'shortcut']
    """
    return {
        "conv1": conv_norm_spec(in_channels, channels, (3, 3)),
        "conv2": conv_norm_spec(channels, channels, (3, 3)),
        **({"shortcut": conv_norm_spec(in_channels, channels, (1, 1))} if projection else {}),
    }


@layer
def basic_block(
    params: Params, state: State, x: Array, *, train: bool, stride: int = 1, residual: bool = True
) -> tuple[Array, State]:
    """Add two 3 x 3 convolutions to a shortcut: $y = relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))$.

    The shortcut is a 1 x 1 convolution with batch norm if the parameters have one. Else it is x itself, of which,
    where the sizes differ, every `stride`-th position is taken and channels of zeros are added on both sides.

    Args:
        params: `conv1`, `conv2` and, if there is one, `shortcut`.
        state: the running statistics of the same names.
        x: `[..., height, width, in_channels]`, floating point.
        train: whether the norms use the batch and update the state.
        stride: of the first convolution and of the shortcut.
        residual: False leaves the shortcut out, for comparison; its parameters must then not be there.

    Returns:
        `(y, new_state)`: `[..., height', width', channels]`, and the new state.

    Raises:
        ValueError: if `x` does not fit, or there are parameters for a shortcut that is left out.
        TypeError: if `x` is not floating point.

    Example:
        >>> from jaxnets import init
        >>> params, state = init(basic_block_spec(2, 4), jax.random.key(0))
        >>> basic_block(params, state, jnp.ones((1, 8, 8, 2)), stride=2, train=False)[0].shape
        (1, 4, 4, 4)

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.
    """
    y, conv1 = conv_norm(
        params["conv1"], state["conv1"], x, stride=stride, padding=1, activation=jax.nn.relu, train=train
    )
    y, conv2 = conv_norm(params["conv2"], state["conv2"], y, padding=1, train=train)
    added, shortcut = _add_shortcut(params, state, x, y, stride, residual, train)
    return jax.nn.relu(added), {"conv1": conv1, "conv2": conv2, **shortcut}


def bottleneck_block_spec(in_channels: int, channels: int, *, projection: bool = False) -> Spec:
    """Describe the parameters and the state of `bottleneck_block`.

    Args:
        in_channels: size of the input's last axis.
        channels: of the 3 x 3 convolution; the result has four times as many.
        projection: whether the shortcut has a 1 x 1 convolution.

    Returns:
        A spec with `conv1`, `conv2`, `conv3` and, if `projection`, `shortcut`, each as `conv_norm_spec` describes it.

    Example:
        >>> bottleneck_block_spec(256, 64)["conv3"]["conv"]["kernel"].shape
        (1, 1, 64, 256)
    """
    out_channels = BOTTLENECK_EXPANSION * channels
    return {
        "conv1": conv_norm_spec(in_channels, channels, (1, 1)),
        "conv2": conv_norm_spec(channels, channels, (3, 3)),
        "conv3": conv_norm_spec(channels, out_channels, (1, 1)),
        **({"shortcut": conv_norm_spec(in_channels, out_channels, (1, 1))} if projection else {}),
    }


@layer
def bottleneck_block(
    params: Params, state: State, x: Array, *, train: bool, stride: int = 1, residual: bool = True
) -> tuple[Array, State]:
    """Add a 1 x 1, a 3 x 3 and a 1 x 1 convolution to a shortcut, with ReLU between them and after the sum.

    Args:
        params: `conv1`, `conv2`, `conv3` and, if there is one, `shortcut`.
        state: the running statistics of the same names.
        x: `[..., height, width, in_channels]`, floating point.
        train: whether the norms use the batch and update the state.
        stride: of the 3 x 3 convolution and of the shortcut.
        residual: False leaves the shortcut out, for comparison; its parameters must then not be there.

    Returns:
        `(y, new_state)`: `[..., height', width', 4 * channels]`, and the new state.

    Raises:
        ValueError: if `x` does not fit, or there are parameters for a shortcut that is left out.
        TypeError: if `x` is not floating point.

    Example:
        >>> from jaxnets import init
        >>> params, state = init(bottleneck_block_spec(8, 2), jax.random.key(0))
        >>> bottleneck_block(params, state, jnp.ones((1, 8, 8, 8)), train=False)[0].shape
        (1, 8, 8, 8)

    Reference:
        He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2015.

    Warning:
        The stride is that of the 3 x 3 convolution, as in torchvision and timm ("ResNet v1.5"). The paper has it in
        the first 1 x 1 convolution, which costs about half a percent of accuracy on ImageNet.
    """
    relu = jax.nn.relu
    y, conv1 = conv_norm(params["conv1"], state["conv1"], x, activation=relu, train=train)
    y, conv2 = conv_norm(params["conv2"], state["conv2"], y, stride=stride, padding=1, activation=relu, train=train)
    y, conv3 = conv_norm(params["conv3"], state["conv3"], y, train=train)
    added, shortcut = _add_shortcut(params, state, x, y, stride, residual, train)
    return relu(added), {"conv1": conv1, "conv2": conv2, "conv3": conv3, **shortcut}


def _add_shortcut(
    params: Params, state: State, x: Array, y: Array, stride: int, residual: bool, train: bool
) -> tuple[Array, State]:
    """Return y + shortcut(x), and the shortcut's new state under its name, if it has one."""
    if not residual:
        if "shortcut" in params:
            raise ValueError("residual=False, but there are parameters of a shortcut; make the spec without")
        return y, {}
    if "shortcut" in params:
        x, shortcut = conv_norm(params["shortcut"], state["shortcut"], x, stride=stride, train=train)
        return y + x, {"shortcut": shortcut}
    x = x[..., ::stride, ::stride, :]
    missing = y.shape[-1] - x.shape[-1]
    if missing < 0:
        raise ValueError(f"{x.shape[-1]} channels cannot be added to {y.shape[-1]}; the spec needs projection=True")
    return y + jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(missing // 2, missing - missing // 2)]), {}


def residual_stage_spec(first: Spec, rest: Spec, count: int) -> Spec:
    """Describe `count` blocks: `first`, and `rest`, which is that of all others stacked.

    Example:
        >>> spec = residual_stage_spec(basic_block_spec(16, 32), basic_block_spec(32, 32), 3)
        >>> spec["rest"]["conv1"]["conv"]["kernel"].shape
        (2, 3, 3, 32, 32)
    """
    return {"first": first, **({"rest": repeat_spec(rest, count - 1)} if count > 1 else {})}


@layer
def residual_stage(
    block: Callable[..., tuple[Array, State]],
    params: Params,
    state: State,
    x: Array,
    *,
    stride: int = 1,
    **settings: Any,
) -> tuple[Array, State]:
    """Run a block with a stride, and then blocks without one in a `lax.scan`, which is compiled once for all of them.

    Args:
        block: `basic_block`, `bottleneck_block`, or any layer with state and a stride.
        params: `first` and, if there are more blocks, `rest`, whose arrays have a first axis.
        state: of the same names.
        x: `[..., height, width, in_channels]`.
        stride: of the first block.
        **settings: of all blocks, `train` for one.

    Returns:
        `(y, new_state)`: what the last block returned, and the new state.

    Example:
        >>> from jaxnets import init
        >>> spec = residual_stage_spec(basic_block_spec(2, 4), basic_block_spec(4, 4), 3)
        >>> params, state = init(spec, jax.random.key(0))
        >>> residual_stage(basic_block, params, state, jnp.ones((1, 8, 8, 2)), stride=2, train=False)[0].shape
        (1, 4, 4, 4)
    """
    x, first = block(params["first"], state["first"], x, stride=stride, **settings)
    if "rest" not in params:
        return x, {"first": first}
    x, rest = repeat(functools.partial(block, **settings), params["rest"], x, state=state["rest"])
    return x, {"first": first, "rest": rest}
