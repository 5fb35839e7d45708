"""GoogLeNet (Inception v1): branches of different windows side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import losses, nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_TRUNCATED = jax.nn.initializers.truncated_normal(0.01)
_HE = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal")
_unit: Callable[..., tuple[Array, State]] = functools.partial(nn.conv_norm, activation=jax.nn.relu, epsilon=1e-3)


class Widths(NamedTuple):
    """Channels of the convolutions of an inception block, named as in the paper's table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pool: int


BLOCKS: Mapping[str, Widths] = {
    "inception3a": Widths(64, 96, 128, 16, 32, 32),
    "inception3b": Widths(128, 128, 192, 32, 96, 64),
    "inception4a": Widths(192, 96, 208, 16, 48, 64),
    "inception4b": Widths(160, 112, 224, 24, 64, 64),
    "inception4c": Widths(128, 128, 256, 24, 64, 64),
    "inception4d": Widths(112, 144, 288, 32, 64, 64),
    "inception4e": Widths(256, 160, 320, 32, 128, 128),
    "inception5a": Widths(256, 160, 320, 32, 128, 128),
    "inception5b": Widths(384, 192, 384, 48, 128, 128),
}
_POOLED_AFTER = ("inception3b", "inception4e")
_AUXILIARY_AFTER = {"inception4a": "auxiliary1", "inception4d": "auxiliary2"}


class GoogLeNetOutputs(NamedTuple):
    """What the network returns in training if it has auxiliary heads, each `[batch, classes]`.

    Attributes:
        logits: of the network itself.
        auxiliary1: of the head after block 4a.
        auxiliary2: of the head after block 4d.
    """

    logits: Array
    auxiliary1: Array
    auxiliary2: Array


def googlenet_spec(
    classes: int = 1000,
    *,
    channels: int = 3,
    auxiliary: bool = True,
    small_images: bool = False,
    width: float = 1.0,
    large_kernel_size: int = 3,
) -> Spec:
    """Describe the parameters and the state of `googlenet`.

    Args:
        classes: how many logits the network returns.
        channels: of the images.
        auxiliary: whether there are two more heads, for training.
        small_images: whether the first layers are one 3 x 3 convolution, for 32 x 32 images.
        width: a factor for the channels of all convolutions.
        large_kernel_size: 3, as in torchvision and its weights, or 5, as in the paper.

    Returns:
        A spec with `conv1` and, unless `small_images`, `conv2` and `conv3`; the blocks `inception3a` to
        `inception5b`; `fc`; and, if `auxiliary`, `auxiliary1` and `auxiliary2`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(googlenet_spec(auxiliary=False)), count_parameters(googlenet_spec())
        (6624904, 13004888)
    """
    unit = functools.partial(nn.conv_norm_spec, kernel_init=_HE if small_images else _TRUNCATED)

    def scaled(size: int) -> int:
        return max(1, round(width * size))

    before = scaled(192)
    if small_images:
        spec: dict[str, Spec] = {"conv1": unit(channels, before, (3, 3))}
    else:
        spec = {
            "conv1": unit(channels, scaled(64), (7, 7)),
            "conv2": unit(scaled(64), scaled(64), (1, 1)),
            "conv3": unit(scaled(64), before, (3, 3)),
        }
    for name, widths in BLOCKS.items():
        widths = Widths(*map(scaled, widths))
        spec[name] = {
            "one": unit(before, widths.one, (1, 1)),
            "three_reduce": unit(before, widths.three_reduce, (1, 1)),
            "three": unit(widths.three_reduce, widths.three, (3, 3)),
            "five_reduce": unit(before, widths.five_reduce, (1, 1)),
            "five": unit(widths.five_reduce, widths.five, (large_kernel_size, large_kernel_size)),
            "pool": unit(before, widths.pool, (1, 1)),
        }
        before = widths.one + widths.three + widths.five + widths.pool
        if auxiliary and name in _AUXILIARY_AFTER:
            spec[_AUXILIARY_AFTER[name]] = _head_spec(
                unit(before, scaled(128), (1, 1)), scaled(128), scaled(1024), classes
            )
    return spec | {"fc": nn.linear_spec(before, classes)}


def _head_spec(unit: Spec, channels: int, hidden: int, classes: int) -> Spec:
    return {"conv": unit, "fc1": nn.linear_spec(4 * 4 * channels, hidden), "fc2": nn.linear_spec(hidden, classes)}


def googlenet_apply(
    params: Params,
    state: State,
    x: Array,
    *,
    key: Key | None = None,
    train: bool,
    rate: float = 0.2,
    auxiliary_rate: float = 0.7,
) -> tuple[Array | GoogLeNetOutputs, State]:
    """Run the first convolutions, nine inception blocks with pooling between them, the mean, and a linear layer.

    Args:
        params: as `googlenet_spec` describes them.
        state: the running statistics of all norms.
        x: `[batch, height, width, channels]`; the published figures are for 224 x 224.
        key: for dropout in training.
        train: whether dropout drops, batch norm uses the batch, and auxiliary heads run.
        rate: of the dropout before the last layer.
        auxiliary_rate: of the dropout before the last layer of each auxiliary head.

    Returns:
        Logits `[batch, classes]`, in training `GoogLeNetOutputs` if there are auxiliary heads; and the new state.

    Example:
        >>> model = googlenet(10, small_images=True, width=0.125)
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 32, 32, 3))).shape
        (1, 10)
    """
    new_state = dict(state)
    if "conv2" in params:
        x, new_state["conv1"] = _unit(params["conv1"], state["conv1"], x, stride=2, padding=3, train=train)
        x = _shrink(x)
        x, new_state["conv2"] = _unit(params["conv2"], state["conv2"], x, train=train)
        x, new_state["conv3"] = _unit(params["conv3"], state["conv3"], x, train=train)
        x = _shrink(x)
    else:
        x, new_state["conv1"] = _unit(params["conv1"], state["conv1"], x, train=train)
    heads: dict[str, Array] = {}
    for name in BLOCKS:
        x, new_state[name] = inception(params[name], state[name], x, train=train)
        head = _AUXILIARY_AFTER.get(name, "")
        if train and head in params:
            dropout = functools.partial(nn.dropout, rate=auxiliary_rate, key=subkey(key, head), train=train)
            heads[head], new_state[head] = _head(params[head], state[head], x, dropout=dropout, train=train)
        if name in _POOLED_AFTER:
            x = _shrink(x, 3 if name == _POOLED_AFTER[0] else 2)
    x = nn.dropout(nn.global_avg_pool(x), rate, key=subkey(key, "dropout"), train=train)
    logits = nn.linear(params["fc"], x)
    return GoogLeNetOutputs(logits, **heads) if heads else logits, new_state


def inception(params: Params, state: State, x: Array, *, train: bool) -> tuple[Array, State]:
    """Join four branches: 1 x 1; 1 x 1 and 3 x 3; 1 x 1 and the large window; 3 x 3 maximum and 1 x 1.

    Args:
        params: `one`, `three_reduce`, `three`, `five_reduce`, `five` and `pool`.
        state: the running statistics of the same names.
        x: `[batch, height, width, channels]`.
        train: whether the norms use the batch.

    Returns:
        `[batch, height, width, channels']`, with the channels of the branches in this order, and the new state.

    Example:
        >>> from jaxnets import init
        >>> spec = googlenet_spec(10, small_images=True, width=0.125)
        >>> params, state = init(spec["inception3a"], jax.random.key(0))
        >>> y, _ = inception(params, state, jnp.ones((1, 8, 8, 24)), train=False)
        >>> y.shape
        (1, 8, 8, 32)
    """
    new_state = {}

    def unit(name: str, x: Array) -> Array:
        y, new_state[name] = _unit(params[name], state[name], x, train=train)
        return y

    branches = [
        unit("one", x),
        unit("three", unit("three_reduce", x)),
        unit("five", unit("five_reduce", x)),
        unit("pool", nn.max_pool(x, (3, 3), stride=1, padding=1)),
    ]
    return jnp.concatenate(branches, axis=-1), new_state


def _head(
    params: Params, state: State, x: Array, *, dropout: Callable[[Array], Array], train: bool
) -> tuple[Array, State]:
    """An auxiliary classifier."""
    x, conv = _unit(params["conv"], state["conv"], nn.adaptive_avg_pool(x, (4, 4)), train=train)
    x = jax.nn.relu(nn.linear(params["fc1"], x.reshape((x.shape[0], -1))))
    return nn.linear(params["fc2"], dropout(x)), {"conv": conv}


def _shrink(x: Array, window: int = 3) -> Array:
    """Max pooling of stride 2, whose last window may reach beyond the image."""
    padding = [(0, -(size - window) % 2 if size > window else 0) for size in x.shape[1:3]]
    return nn.max_pool(x, (window, window), stride=2, padding=padding)


def googlenet_loss(outputs: Array | GoogLeNetOutputs, labels: Array, *, weight: float = 0.3) -> Array:
    """Cross-entropy of the network, in training plus `weight` times that of each auxiliary head.

    Args:
        outputs: what the network returned.
        labels: integers `[batch]`.
        weight: of the heads.

    Returns:
        `[batch]`.

    Example:
        >>> outputs = GoogLeNetOutputs(*jnp.zeros((3, 1, 2)))
        >>> print(googlenet_loss(outputs, jnp.array([1])))  # 1.6 log 2
        [1.1090355]
    """
    if not isinstance(outputs, GoogLeNetOutputs):
        return losses.cross_entropy(outputs, labels)
    main, *auxiliary = (losses.cross_entropy(logits, labels) for logits in outputs)
    return main + weight * sum(auxiliary)


def googlenet(classes: int = 1000, *, rate: float = 0.2, auxiliary_rate: float = 0.7, **sizes: Any) -> Model:
    """Make GoogLeNet: three convolutions, nine inception blocks, and two auxiliary heads that run in training.

    Args:
        classes: how many logits it returns.
        rate: of the dropout before the last layer.
        auxiliary_rate: of the dropout before the last layer of each auxiliary head.
        **sizes: as in `googlenet_spec`; `auxiliary=False` leaves the heads out, `small_images=True` is for 32 x 32.

    Returns:
        The model; see `googlenet_apply`. `googlenet_loss` is the loss of the paper.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(googlenet_spec(auxiliary=False))
        6624904

    Reference:
        Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, 2014.

    Warning:
        Each convolution is followed by batch norm, and the branch of the large window has 3 x 3, both as in
        torchvision. The paper has no batch norm and 5 x 5 there (`large_kernel_size=5`).
    """
    apply = functools.partial(googlenet_apply, rate=rate, auxiliary_rate=auxiliary_rate)
    return make_model(googlenet_spec(classes, **sizes), functools.wraps(googlenet_apply)(apply))
