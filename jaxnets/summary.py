"""A table of a model's layers: where they are, what they return, what they hold and what they cost."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from jaxnets.flops import count_flops
from jaxnets.layer import Call, CallLog, recorded
from jaxnets.model import Model
from jaxnets.types import PyTree


class SummaryRow(NamedTuple):
    """One call of a layer.

    Attributes:
        path: where its parameters are, such as `"block2/conv1"`.
        layer: the name of the function.
        output: the shape of its result; of several results the first.
        parameters: how many numbers its parameters hold.
        state: how many numbers its state holds.
        flops: floating-point operations of its products and convolutions; see `jaxnets.flops.count_flops`.
    """

    path: str
    layer: str
    output: tuple[int, ...]
    parameters: int
    state: int
    flops: int


class Summary(NamedTuple):
    """The layers of a model and its totals; `print` it for a table.

    Attributes:
        rows: one for each call of a layer with parameters, in the order of the calls; a layer comes before those
            that it calls.
        output: the shape of the model's result; of several results the first.
        parameters: how many parameters the model has.
        state: how many numbers its state holds.
        parameter_bytes: bytes of the parameters.
        state_bytes: bytes of the state.
        flops: floating-point operations of one call.
    """

    rows: tuple[SummaryRow, ...]
    output: tuple[int, ...]
    parameters: int
    state: int
    parameter_bytes: int
    state_bytes: int
    flops: int

    def __str__(self) -> str:
        """The table as text."""
        header = ("path", "layer", "output", "parameters", "state", "FLOPs")
        body = [(r.path, r.layer, str(list(r.output)), *map(_grouped, r[3:])) for r in self.rows]
        total = ("total", "", str(list(self.output)), *map(_grouped, (self.parameters, self.state, self.flops)))
        widths = [max(len(line[i]) for line in (header, *body, total)) for i in range(len(header))]
        rule = "  ".join("-" * width for width in widths)
        lines = [_aligned(header, widths), rule, *(_aligned(line, widths) for line in body), rule]
        size = f"parameters {_bytes(self.parameter_bytes)}, state {_bytes(self.state_bytes)}"
        return "\n".join([*lines, _aligned(total, widths), size])


def summary(model: Model, inputs: PyTree, *, train: bool = False) -> Summary:
    """Describe the layers of a model for inputs of a given shape; nothing is computed.

    Args:
        model: the model.
        inputs: an input batch, or `jax.ShapeDtypeStruct`s of one.
        train: whether the training form is described.

    Returns:
        The summary; `print(summary(model, inputs))` shows a table.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     x = jax.nn.relu(nn.linear(params["fc1"], x))
        ...     return nn.linear(params["fc2"], x), state
        >>> model = make_model({"fc1": nn.linear_spec(8, 12), "fc2": nn.linear_spec(12, 1)}, apply)
        >>> print(summary(model, jax.ShapeDtypeStruct((10, 8), jnp.float32)))
        path   layer   output    parameters  state  FLOPs
        -----  ------  --------  ----------  -----  -----
        fc1    linear  [10, 12]         108      0  1,920
        fc2    linear  [10, 1]           13      0    240
        -----  ------  --------  ----------  -----  -----
        total          [10, 1]          121      0  2,160
        parameters 484 B, state 0 B
    """
    key = jax.random.key(0)
    params, state = jax.eval_shape(model.init, key)
    log = CallLog()

    def apply(params: PyTree, state: PyTree, inputs: PyTree) -> Any:
        return model.apply(params, state, inputs, key=key, train=train)[0]

    output = jax.eval_shape(lambda *args: apply(recorded(args[0], log), *args[1:]), params, state, inputs)
    return Summary(
        rows=tuple(_row(call, state) for call in log.calls if call is not None),
        output=_first_shape(output),
        parameters=_count(params),
        state=_count(state),
        parameter_bytes=_total_bytes(params),
        state_bytes=_total_bytes(state),
        flops=count_flops(apply, params, state, inputs),
    )


def _row(call: Call, state: PyTree) -> SummaryRow:
    params = call.args[0] if call.args else call.kwargs["params"]
    flops = count_flops(call.function, *call.args, **call.kwargs)
    held = _count(_subtree(state, call.path))
    return SummaryRow(call.path, call.function.__name__, _first_shape(call.output), _count(params), held, flops)


def _subtree(tree: PyTree, path: str) -> PyTree:
    """What is at `path` in nested dicts and lists; `{}` where nothing is."""
    for name in path.split("/") if path else ():
        if isinstance(tree, list):
            tree = tree[int(name)] if int(name) < len(tree) else {}
        else:
            tree = tree.get(name, {})
    return tree


def _first_shape(tree: PyTree) -> tuple[int, ...]:
    leaves = jax.tree.leaves(tree)
    return tuple(leaves[0].shape) if leaves else ()


def _count(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _total_bytes(tree: PyTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _grouped(number: int) -> str:
    return f"{number:,}"


def _bytes(size: int) -> str:
    power = min((max(size, 1).bit_length() - 1) // 10, 3)
    return f"{size} B" if power == 0 else f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    """Text columns to the left, numbers to the right."""
    aligned = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(aligned).rstrip()
