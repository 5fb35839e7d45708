"""GoogLeNet (Inception v1): branches of kernels of different sizes side by side."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import losses, nn
from jaxnets.combinators import flatten
from jaxnets.config import ModelConfig, PositiveFloat, PositiveInt, Rate, build_model
from jaxnets.model import Model
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


@dataclasses.dataclass(frozen=True)
class GoogLeNetConfig(ModelConfig):
    """The settings of `googlenet`. With 1,000 classes it has 6,624,904 parameters, its two heads 6,379,984 more.

    Attributes:
        classes: how many logits the network returns.
        channels: of the images.
        auxiliary: whether there are two more heads, for training.
        small_images: whether the first layers are one 3 x 3 convolution, for 32 x 32 images.
        width: a factor for the channels of all convolutions.
        large_kernel_size: 3, as in torchvision and its weights, or 5, as in the paper.
        dropout_rate: of the dropout before the last layer.
        auxiliary_dropout_rate: of the dropout before the last layer of each auxiliary head.
    """

    classes: PositiveInt = 1000
    channels: PositiveInt = 3
    auxiliary: bool = True
    small_images: bool = False
    width: PositiveFloat = 1.0
    large_kernel_size: PositiveInt = 3
    dropout_rate: Rate = 0.2
    auxiliary_dropout_rate: Rate = 0.7


def _spec(config: GoogLeNetConfig) -> Spec:
    """`conv1` (`conv2`, `conv3`), the blocks `inception3a` to `inception5b`, `fc`, and the auxiliary heads."""
    unit = functools.partial(nn.conv_norm_spec, kernel_init=_HE if config.small_images else _TRUNCATED)

    def scaled(size: int) -> int:
        return max(1, round(config.width * size))

    before = scaled(192)
    if config.small_images:
        spec: dict[str, Spec] = {"conv1": unit(config.channels, before, (3, 3))}
    else:
        spec = {
            "conv1": unit(config.channels, scaled(64), (7, 7)),
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
            "five": unit(widths.five_reduce, widths.five, (config.large_kernel_size, config.large_kernel_size)),
            "pool": unit(before, widths.pool, (1, 1)),
        }
        before = widths.one + widths.three + widths.five + widths.pool
        if config.auxiliary and name in _AUXILIARY_AFTER:
            spec[_AUXILIARY_AFTER[name]] = _head_spec(
                unit(before, scaled(128), (1, 1)), scaled(128), scaled(1024), config.classes
            )
    return spec | {"fc": nn.linear_spec(before, config.classes)}


def _head_spec(unit: Spec, channels: int, hidden: int, classes: int) -> Spec:
    return {"conv": unit, "fc1": nn.linear_spec(4 * 4 * channels, hidden), "fc2": nn.linear_spec(hidden, classes)}


def _apply(
    config: GoogLeNetConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array | GoogLeNetOutputs, State]:
    """Run the first convolutions, nine inception blocks with pooling between them, the mean, and a linear layer."""
    new_state = dict(state)
    if not config.small_images:
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
            rate = config.auxiliary_dropout_rate
            dropout = functools.partial(nn.dropout, rate=rate, key=subkey(key, head), train=train)
            heads[head], new_state[head] = _head(params[head], state[head], x, dropout=dropout, train=train)
        if name in _POOLED_AFTER:
            x = _shrink(x, 3 if name == _POOLED_AFTER[0] else 2)
    x = nn.dropout(nn.global_avg_pool(x), config.dropout_rate, key=subkey(key, "dropout"), train=train)
    logits = nn.linear(params["fc"], x)
    return GoogLeNetOutputs(logits, **heads) if heads else logits, new_state


def inception(params: Params, state: State, x: Array, *, train: bool) -> tuple[Array, State]:
    """Join four branches: 1 x 1; 1 x 1 and 3 x 3; 1 x 1 and the large kernel; 3 x 3 maximum and 1 x 1.

    Args:
        params: `one`, `three_reduce`, `three`, `five_reduce`, `five` and `pool`.
        state: the running statistics of the same names.
        x: `[batch, height, width, channels]`.
        train: whether the norms use the batch.

    Returns:
        `[batch, height, width, channels']`, with the channels of the branches in this order, and the new state.

    Example:
        >>> from jaxnets import init
        >>> model = googlenet(GoogLeNetConfig(classes=10, small_images=True, width=0.125))
        >>> params, state = init(model.spec["inception3a"], jax.random.key(0))
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
    x = jax.nn.relu(nn.linear(params["fc1"], flatten(x)))
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


def googlenet(config: GoogLeNetConfig = GoogLeNetConfig()) -> Model:
    """Make GoogLeNet: three convolutions, nine inception blocks, and two auxiliary heads that run in training.

    Args:
        config: the settings; `auxiliary=False` leaves the heads out, `small_images=True` is for 32 x 32.

    Returns:
        A model from images `[batch, height, width, channels]` (the published figures are for 224 x 224) to logits
        `[batch, classes]`, in training to `GoogLeNetOutputs` if there are auxiliary heads. It needs a key in training,
        and its state holds the running statistics of all norms. `googlenet_loss` is the loss of the paper.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = googlenet(GoogLeNetConfig(classes=10, small_images=True, width=0.125))
        >>> def logits(key, x):
        ...     return model.apply(*model.init(key), x, train=False)[0]
        >>> jax.eval_shape(logits, jax.random.key(0), jnp.ones((1, 32, 32, 3))).shape
        (1, 10)

    Reference:
        Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, 2014.

    Warning:
        Each convolution is followed by batch norm, and the branch of the large kernel has 3 x 3, both as in
        torchvision. The paper has no batch norm and 5 x 5 there (`large_kernel_size=5`).
    """
    return build_model(config, GoogLeNetConfig, _spec, _apply)
