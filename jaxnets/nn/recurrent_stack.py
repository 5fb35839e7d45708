"""Several recurrent layers: one in each direction, or one on top of the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.layer import layer, names_errors
from jaxnets.nn.check import check_rate
from jaxnets.nn.dropout import dropout
from jaxnets.nn.recurrent import Carry
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params


def bidirectional_spec(spec: Spec) -> Spec:
    """Describe two layers of the same form, `forward` and `backward`, for `bidirectional`.

    Example:
        >>> from jaxnets import nn
        >>> sorted(bidirectional_spec(nn.gru_spec(3, 4)))
        ['backward', 'forward']
    """
    return {"forward": spec, "backward": spec}


@layer
def bidirectional(
    sequence: Callable[..., tuple[Array, Carry]],
    params: Params,
    x: Array,
    *,
    carry: Carry | None = None,
    mask: Array | None = None,
) -> tuple[Array, Carry]:
    """Run one layer from the first step to the last and another one back, and join their results.

    $y_t = [forward_t, backward_t]$.

    Args:
        sequence: `lstm`, `gru`, `simple_rnn` or a function that is called like them; settings go in by
            `functools.partial`.
        params: `forward` and `backward`, the parameters of two such layers.
        x: `[..., time, in_features]`, floating point.
        carry: None for zeros, or a dict with the initial carries of `forward` and `backward`. That of `backward` is
            the one before it reads the last step.
        mask: boolean `[..., time]`, True at real steps; None if all are. With padding at the end, the backward layer
            begins at the last real step of each sequence.

    Returns:
        `(y, carry)`: y `[..., time, 2 * hidden]`, and the final carries of `forward` and `backward`. That of
        `backward` is the one after it has read the first step.

    Raises:
        ValueError: if params or carry do not hold `forward` and `backward`; and what `sequence` raises.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init(bidirectional_spec(nn.lstm_spec(3, 4)), jax.random.key(0))
        >>> y, carry = bidirectional(nn.lstm, params, jnp.ones((2, 5, 3)))
        >>> y.shape, carry["backward"].hidden.shape
        ((2, 5, 8), (2, 4))

    Reference:
        Schuster, Paliwal, Bidirectional Recurrent Neural Networks, 1997.
    """
    for name, tree in (("params", params), ("carry", carry)):
        if tree is not None and (not isinstance(tree, dict) or set(tree) != {"forward", "backward"}):
            came = sorted(tree) if isinstance(tree, dict) else type(tree).__name__
            raise ValueError(f"{name} must be a dict of 'forward' and 'backward', got {came}")
    carry = {"forward": None, "backward": None} if carry is None else carry
    ahead, ahead_carry = sequence(params["forward"], x, carry=carry["forward"], mask=mask)
    back, back_carry = sequence(params["backward"], x, carry=carry["backward"], mask=mask, reverse=True)
    return jnp.concatenate([ahead, back], axis=-1), {"forward": ahead_carry, "backward": back_carry}


@names_errors
def stacked_spec(
    make_spec: Callable[..., Spec],
    in_features: int,
    hidden: int,
    *,
    count: int,
    bidirectional: bool = False,
    **settings: Any,
) -> Spec:
    """Describe `count` recurrent layers on top of each other, for `stacked`.

    Args:
        make_spec: `lstm_spec`, `gru_spec`, `simple_rnn_spec` or a function that is called like them.
        in_features: size of the last axis of the first layer's input.
        hidden: hidden size of every layer.
        count: how many layers.
        bidirectional: whether each layer is two, `forward` and `backward`; the next one then reads `2 * hidden`
            features.
        **settings: passed on to `make_spec`.

    Returns:
        A list of specs, the first layer's first.

    Raises:
        ValueError: if `count` is not positive.

    Example:
        >>> from jaxnets import nn
        >>> layers = stacked_spec(nn.lstm_spec, 3, 4, count=2, bidirectional=True)
        >>> [layer["forward"]["input_kernel"].shape for layer in layers]
        [(3, 16), (8, 16)]
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    sizes = [in_features] + [2 * hidden if bidirectional else hidden] * (count - 1)
    layers = [make_spec(size, hidden, **settings) for size in sizes]
    return [bidirectional_spec(spec) for spec in layers] if bidirectional else layers


@layer
def stacked(
    sequence: Callable[..., tuple[Array, Carry]],
    params: Params,
    x: Array,
    *,
    carry: Sequence[Carry] | None = None,
    mask: Array | None = None,
    rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool | None = None,
) -> tuple[Array, list[Carry]]:
    """Run recurrent layers on top of each other, each over the results of the one before.

    To generate, feed one step at a time, `[..., 1, in_features]`, with the carry that the step before returned.

    Args:
        sequence: `lstm`, `gru`, `simple_rnn`, `functools.partial(bidirectional, lstm)` or a function that is called
            like them.
        params: a list with the parameters of each layer.
        x: `[..., time, in_features]`, floating point.
        carry: None for zeros, or a list with the initial carry of each layer.
        mask: boolean `[..., time]`, True at real steps; None if all are.
        rate: the probability to drop an entry of what one layer hands to the next, in training.
        key: random key, needed if entries are dropped.
        train: whether to drop; required if `rate` is not 0.

    Returns:
        `(y, carry)`: the last layer's y `[..., time, hidden]`, and a list with the final carry of each layer.

    Raises:
        ValueError: if params and carry are not lists of the same length, if `rate` is not in [0, 1] or comes without
            `train` or without a needed `key`; and what `sequence` raises.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init(stacked_spec(nn.gru_spec, 3, 4, count=2), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (2, 5, 3))
        >>> y, carry = stacked(nn.gru, params, x)
        >>> _, prefix = stacked(nn.gru, params, x[:, :4])
        >>> step, _ = stacked(nn.gru, params, x[:, 4:], carry=prefix)
        >>> y.shape, bool(jnp.allclose(step[:, 0], y[:, 4], atol=1e-6))
        ((2, 5, 4), True)
    """
    if not isinstance(params, list | tuple) or not params:
        raise ValueError(
            f"params must be a list with those of each layer, got {type(params).__name__}; "
            "pass what init(stacked_spec(...), key) returned"
        )
    if carry is not None and (not isinstance(carry, list) or len(carry) != len(params)):
        came = f"{len(carry)}" if isinstance(carry, list) else type(carry).__name__
        raise ValueError(f"carry must be a list of {len(params)}, one a layer, got {came}")
    check_rate(rate)
    never_drops = not isinstance(rate, jax.core.Tracer) and rate == 0
    if train is None and not never_drops:
        raise ValueError("rate is not 0; pass train=True to drop entries, or train=False")
    carries = []
    for i, layer_params in enumerate(params):
        if i > 0:
            x = dropout(x, rate, key=subkey(key, i), train=bool(train))
        x, end = sequence(layer_params, x, carry=None if carry is None else carry[i], mask=mask)
        carries.append(end)
    return x, carries
