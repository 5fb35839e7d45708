"""What the gradient of each parameter looks like: vanishing, exploding, dead units, nothing but rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.html_table import TableText, html_table
from jaxnets.random import subkey
from jaxnets.training.gradient import Loss, loss_gradient
from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import Array, Key, Params

_FAINT = 1e-3
_NUDGE = 1e-5
_MOVE = 0.1
NO_EFFECT = "no effect on the loss"
_MEANING = (
    f"{NO_EFFECT}: the gradient is 0 but for rounding, because what follows takes the parameter away, as batch norm "
    "does a bias before it. Nothing vanishes here, and the network does as well without this parameter."
)


class GradientRow(NamedTuple):
    """The gradient of one array of parameters.

    Attributes:
        gradient: its Euclidean norm.
        parameter: the norm of the parameter itself.
        mean_square: the mean of its squared entries, which arrays of different sizes can be compared by.
        dead: the share of units, entries of the last axis, whose gradient is exactly 0: nothing they do changes the
            loss on this batch, as of a ReLU unit that is never on.
        no_effect: whether the gradient is nothing but rounding, because the loss does not depend on the parameter at
            all: of a bias before batch norm, which subtracts the mean, or of the keys' bias of attention, which softmax
            does not see. It is taken for that if it is 1,000 times smaller than another array's of the same layer, if
            it is another one when all parameters change by 1/100,000, as rounding is, and if it is still so small after
            the parameter has moved by 0.1. A gradient that vanishes on its way through a network is small in all of a
            layer, and the same after so small a change.
    """

    gradient: Array
    parameter: Array
    mean_square: Array
    dead: Array
    no_effect: Array | bool = False


def make_gradient_report(loss: Loss) -> Callable[[TrainState, Any], dict[str, GradientRow]]:
    """Make the function that measures the gradient of a loss, one row for each array of parameters.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`.

    Returns:
        `report(train_state, batch) -> {path: GradientRow}`, pure and traceable; `jax.jit` it. It changes nothing:
        the gradient is that of the step which would come next on this batch. It is computed three times; see
        `GradientRow.no_effect` and `gradient_table`.

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
        noise_key = subkey(train_state.key, "gradient report")
        params = jax.tree.map(jnp.asarray, train_state.params)

        def measure(carry: Any, number: Array) -> Any:
            there, faint = carry
            _, gradients, _, _ = loss_gradient(loss)(there, train_state.state, batch, key=key)
            wide = {path: _wide(gradient) for path, gradient in paths(gradients).items()}
            norms = {path: _norm(gradient) for path, gradient in wide.items()}
            first = number == 0
            faint = {path: jnp.where(first, now, faint[path]) for path, now in _faint(norms, sizes).items()}
            return (_moved(params, noise_key, faint, first), faint), (wide, norms)

        sizes = {path: parameter.size for path, parameter in paths(params).items()}
        start = params, dict.fromkeys(sizes, jnp.array(False))
        (_, faint), (measured, norms) = jax.lax.scan(measure, start, jnp.arange(3))  # so that it is compiled once
        still = _faint({path: norm[2] for path, norm in norms.items()}, sizes)
        rows = {}
        for path, parameter in paths(params).items():
            here, nudged, _ = measured[path]
            differ = _norm(here - nudged) > norms[path][0] / 10
            rows[path] = _row(here, norms[path][0], parameter, faint[path] & still[path] & differ)
        return rows

    return report


def _wide(array: Array) -> Array:
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _faint(norms: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    """Whether the gradient of each array is far smaller than the largest one of its layer, of what is beside it."""
    roots = {path: norm / math.sqrt(sizes[path]) for path, norm in norms.items()}

    def largest(layer: str) -> Array:
        return jnp.max(jnp.stack([root for path, root in roots.items() if path.rpartition("/")[0] == layer]))

    of_layers = {layer: largest(layer) for layer in {path.rpartition("/")[0] for path in roots}}
    return {path: root < _FAINT * of_layers[path.rpartition("/")[0]] for path, root in roots.items()}


def _moved(params: Params, key: Key, chosen: Mapping[str, Array], nudge: Array) -> Params:
    """All parameters changed by about their rounding, or the chosen ones moved by so much that it would matter."""
    leaves, structure = jax.tree.flatten(params)
    numbers = jax.random.normal(key, (sum(leaf.size for leaf in leaves),), jnp.float32)  # at once: one to compile
    ends = itertools.accumulate(leaf.size for leaf in leaves)
    moved = []
    for leaf, choose, end in zip(leaves, chosen.values(), ends, strict=True):
        noise = numbers[end - leaf.size : end].reshape(leaf.shape).astype(leaf.dtype)
        size = jnp.where(nudge, _NUDGE * jnp.abs(leaf), _MOVE * choose.astype(leaf.dtype))
        moved.append((leaf + size * noise).astype(leaf.dtype))
    return jax.tree.unflatten(structure, moved)


def _row(gradient: Array, norm: Array, parameter: Array, no_effect: Array) -> GradientRow:
    zero_units = jnp.all(gradient == 0, axis=tuple(range(gradient.ndim - 1)))
    return GradientRow(
        gradient=norm,
        parameter=_norm(parameter.astype(gradient.dtype)),
        mean_square=jnp.square(norm) / gradient.size,
        dead=jnp.mean(zero_units.astype(gradient.dtype)),
        no_effect=no_effect,
    )


def _norm(array: Array) -> Array:
    # Scaled, because the squares of an exploding gradient overflow long before it does.
    largest = jnp.max(jnp.abs(array))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.sqrt(jnp.sum(jnp.square(array / scale)))


def gradient_table(report: Mapping[str, GradientRow]) -> TableText:
    """Write a gradient report as a table with a note on what stands out.

    The notes: `not finite`; `zero`: the whole gradient is; `no effect on the loss`: it is 0 but for rounding, whatever
    the parameter (see `GradientRow`); `dead units`: more than half are; `vanishing`: its root mean square is below
    1/1,000 of the largest array's; `exploding`: it is above 1,000 and its norm above that of the parameter.

    Args:
        report: what `make_gradient_report` measured.

    Returns:
        One line an array, as text that a notebook shows as a table.

    Example:
        >>> rows = {"fc/kernel": GradientRow(jnp.array(2.0), jnp.array(4.0), jnp.array(0.25), jnp.array(0.75))}
        >>> print(gradient_table(rows))
        parameter    gradient   parameter  rms gradient   dead
        fc/kernel        2.00        4.00      5.00e-01    75%  dead units
    """
    rows = {path: [float(value) for value in row] for path, row in report.items()}
    roots = {path: math.sqrt(row[2]) if row[2] >= 0 else math.nan for path, row in rows.items()}
    largest = max((root for root in roots.values() if math.isfinite(root)), default=0.0)
    header = ("parameter", "gradient", "parameter", "rms gradient", "dead", "")
    cells = []
    for path, (gradient, parameter, _, dead, no_effect) in rows.items():
        note = _note(gradient, parameter, roots[path], dead, largest, bool(no_effect))
        norm = f"{gradient:.3g}" if not 0.01 <= gradient < 1e6 else f"{gradient:.2f}"
        cells.append((path, norm, f"{parameter:.2f}", f"{roots[path]:.2e}", f"{dead:.0%}", note))
    width = max([len("parameter"), *map(len, rows)])
    lines = [
        f"{path:{width}}  {norm:>10}  {parameter:>10}  {root:>12}  {dead:>5}  {note}".rstrip()
        for path, norm, parameter, root, dead, note in (header, *cells)
    ]
    notes = [_MEANING] if any(row[-1] == NO_EFFECT for row in cells) else []
    return TableText("\n".join([*lines, *notes]), html_table(header, cells, notes=notes))


def _note(gradient: float, parameter: float, root: float, dead: float, largest: float, no_effect: bool) -> str:
    if not (math.isfinite(gradient) and math.isfinite(root)):
        return "exploding" if math.isfinite(gradient) else "not finite"
    if gradient == 0:
        return "zero"
    if no_effect:
        return NO_EFFECT
    if root > 1000 and gradient > parameter:
        return "exploding"
    if root < largest / 1000:
        return "vanishing"
    return "dead units" if dead > 0.5 else ""
