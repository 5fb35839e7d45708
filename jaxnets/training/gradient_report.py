"""What the gradient of each parameter looks like: vanishing, exploding, dead units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxnets.random import subkey
from jaxnets.training.gradient import Loss, loss_gradient
from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import Array


class GradientRow(NamedTuple):
    """The gradient of one array of parameters.

    Attributes:
        gradient: its Euclidean norm.
        parameter: the norm of the parameter itself.
        mean_square: the mean of its squared entries, which arrays of different sizes can be compared by.
        dead: the share of units, entries of the last axis, whose gradient is exactly 0: nothing they do changes the
            loss on this batch, as of a ReLU unit that is never on.
    """

    gradient: Array
    parameter: Array
    mean_square: Array
    dead: Array


def make_gradient_report(loss: Loss) -> Callable[[TrainState, Any], dict[str, GradientRow]]:
    """Make the function that measures the gradient of a loss, one row for each array of parameters.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`.

    Returns:
        `report(train_state, batch) -> {path: GradientRow}`, pure and traceable; `jax.jit` it. It changes nothing:
        the gradient is that of the step which would come next on this batch. See `gradient_table`.

    Example:
        >>> import jax
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.sum(jax.nn.relu(batch @ params["kernel"])), (state, {})
        >>> params = {"kernel": jnp.array([[3.0, -1.0]])}
        >>> row = make_gradient_report(loss)(TrainState.create(params, (), seed=0), jnp.array([[4.0]]))["kernel"]
        >>> float(row.gradient), float(row.dead)
        (4.0, 0.5)

    Reference:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.
    """

    def report(train_state: TrainState, batch: Any) -> dict[str, GradientRow]:
        key = subkey(subkey(train_state.key, "step"), train_state.step)
        _, gradients, _, _ = loss_gradient(loss)(train_state.params, train_state.state, batch, key=key)
        rows = zip(paths(gradients).items(), paths(train_state.params).values(), strict=True)
        return {path: _row(gradient, parameter) for (path, gradient), parameter in rows}

    return report


def _row(gradient: Array, parameter: Array) -> GradientRow:
    wide = gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32))
    zero_units = jnp.all(wide == 0, axis=tuple(range(wide.ndim - 1)))
    return GradientRow(
        gradient=_norm(wide),
        parameter=_norm(parameter.astype(wide.dtype)),
        mean_square=jnp.mean(jnp.square(wide)),
        dead=jnp.mean(zero_units.astype(wide.dtype)),
    )


def _norm(array: Array) -> Array:
    # Scaled, because the squares of an exploding gradient overflow long before it does.
    largest = jnp.max(jnp.abs(array))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.sqrt(jnp.sum(jnp.square(array / scale)))


def gradient_table(report: Mapping[str, GradientRow]) -> str:
    """Write a gradient report as a table with a note on what stands out.

    The notes: `not finite`; `zero`: the whole gradient is; `dead units`: more than half are; `vanishing`: its root mean
    square is below 1/1,000 of the largest array's; `exploding`: it is above 1,000 and its norm above that of the
    parameter.

    Args:
        report: what `make_gradient_report` measured.

    Returns:
        One line an array.

    Example:
        >>> rows = {"fc/kernel": GradientRow(jnp.array(2.0), jnp.array(4.0), jnp.array(0.25), jnp.array(0.75))}
        >>> print(gradient_table(rows))
        parameter    gradient   parameter  rms gradient   dead
        fc/kernel        2.00        4.00      5.00e-01    75%  dead units
    """
    rows = {path: [float(value) for value in row] for path, row in report.items()}
    roots = {path: math.sqrt(row[2]) if row[2] >= 0 else math.nan for path, row in rows.items()}
    largest = max((root for root in roots.values() if math.isfinite(root)), default=0.0)
    width = max([len("parameter"), *map(len, rows)])
    lines = [f"{'parameter':{width}}  {'gradient':>10}  {'parameter':>10}  {'rms gradient':>12}  {'dead':>5}"]
    for path, (gradient, parameter, _, dead) in rows.items():
        note = _note(gradient, parameter, roots[path], dead, largest)
        numbers = f"{gradient:>10.3g}" if not 0.01 <= gradient < 1e6 else f"{gradient:>10.2f}"
        lines.append(
            f"{path:{width}}  {numbers}  {parameter:>10.2f}  {roots[path]:>12.2e}  {dead:>5.0%}  {note}".rstrip()
        )
    return "\n".join(lines)


def _note(gradient: float, parameter: float, root: float, dead: float, largest: float) -> str:
    if not (math.isfinite(gradient) and math.isfinite(root)):
        return "exploding" if math.isfinite(gradient) else "not finite"
    if gradient == 0:
        return "zero"
    if root > 1000 and gradient > parameter:
        return "exploding"
    if root < largest / 1000:
        return "vanishing"
    return "dead units" if dead > 0.5 else ""
