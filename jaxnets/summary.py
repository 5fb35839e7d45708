"""A table of a model's layers: where they are, what they return, what they hold and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from jaxnets.backend import plain_too
from jaxnets.flops import NOT_COUNTABLE, inner_jaxprs, jaxpr_flops
from jaxnets.html_table import html_table
from jaxnets.layer import Call, CallLog, recorded
from jaxnets.model import Model
from jaxnets.tree import count, is_below, paths, tree_bytes
from jaxnets.types import PyTree

NO_LAYER = "(no layer)"
_HEADER = ("path", "layer", "output", "parameters", "state", "FLOPs per batch")
_MARK = "jaxnets_call_"
_NOTES = {
    " x ": "x n: repeated n times, each time with parameters of its own; the numbers are those of all",
    "(shared)": "(shared): has the parameters of a layer further up, which counts them",
    NO_LAYER: f"{NO_LAYER}: what the model computes itself, and parameters that no layer was given",
}


class SummaryRow(NamedTuple):
    """A layer, or parameters and operations outside of layers.

    What several layers have in common is counted once: for the innermost of nested layers, and for the first of those
    that share it. So each column adds up to the total.

    Attributes:
        path: where its parameters are, such as `"block2/conv1"`.
        layer: the name of the function; `NO_LAYER` for parameters that no layer got, and for the operations that the
            model does itself.
        output: the shape of its result; of several results the first.
        parameters: how many numbers its parameters hold, of all repetitions.
        state: how many numbers its state holds.
        flops: floating-point operations of its products and convolutions in all repetitions, without those of the
            layers that it calls; see `jaxnets.flops.count_flops`.
        times: how often it is repeated, each time with its own part of stacked parameters.
        shared: whether its parameters are those of a layer further up.
        depth: how many layers it is inside of.
    """

    path: str
    layer: str
    output: tuple[int, ...]
    parameters: int
    state: int
    flops: int
    times: int = 1
    shared: bool = False
    depth: int = 0


class Summary(NamedTuple):
    """The layers of a model and its totals; `print` it for a table.

    Attributes:
        rows: one for each layer with parameters, in the order of the calls; a layer comes before those that it calls.
            What is in no layer follows.
        output: the shape of the model's result; of several results the first.
        parameters: how many parameters the model has.
        state: how many numbers its state holds.
        parameter_bytes: bytes of the parameters.
        state_bytes: bytes of the state.
        flops: floating-point operations of one call, on the whole batch of inputs.
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
        body, total = self._table()
        widths = [max(len(line[i]) for line in (_HEADER, *body, total)) for i in range(len(_HEADER))]
        rule = "  ".join("-" * width for width in widths)
        lines = [_aligned(_HEADER, widths), rule, *(_aligned(line, widths) for line in body), rule]
        return "\n".join([*lines, _aligned(total, widths), *self._notes(body)])

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        body, total = self._table()
        return html_table(_HEADER, [*body, total], words=3, total=True, notes=self._notes(body))

    def _table(self) -> tuple[list[tuple[str, ...]], tuple[str, ...]]:
        total = ("total", "", _shape(self.output), *map(_grouped, (self.parameters, self.state, self.flops)))
        return [_cells(row) for row in self.rows], total

    def _notes(self, body: list[tuple[str, ...]]) -> list[str]:
        size = f"parameters {_bytes(self.parameter_bytes)}, state {_bytes(self.state_bytes)}"
        return [size, *(note for sign, note in _NOTES.items() if any(sign in line[1] for line in body))]


def summary(model: Model, inputs: PyTree, *, train: bool = False) -> Summary:
    """Describe the layers of a model for inputs of a given shape; nothing is computed.

    Args:
        model: the model.
        inputs: an input batch, or `jax.ShapeDtypeStruct`s of one.
        train: whether the training form is described.

    Returns:
        The summary; `print(summary(model, inputs))` shows a table, in which layers inside of another are indented
        below it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     x = jax.nn.relu(nn.linear(params["fc1"], x))
        ...     return nn.linear(params["fc2"], x), state
        >>> model = make_model({"fc1": nn.linear_spec(8, 12), "fc2": nn.linear_spec(12, 1)}, apply)
        >>> print(summary(model, jax.ShapeDtypeStruct((10, 8), jnp.float32)))
        path   layer   output    parameters  state  FLOPs per batch
        -----  ------  --------  ----------  -----  ---------------
        fc1    linear  [10, 12]         108                   1,920
        fc2    linear  [10, 1]           13                     240
        -----  ------  --------  ----------  -----  ---------------
        total          [10, 1]          121                   2,160
        parameters 484 B, state 0 B
    """
    key = jax.random.key(0)
    params, state = jax.eval_shape(model.init, key)
    log = _MarkedLog()

    def apply(params: PyTree, state: PyTree, inputs: PyTree) -> Any:
        return model.apply(recorded(params, log), state, inputs, key=key, train=train)[0]

    with plain_too(NOT_COUNTABLE):
        jaxpr, output = jax.make_jaxpr(apply, return_shape=True)(params, state, inputs)
    return Summary(
        rows=_rows(log, jaxpr, paths(params), paths(state)),
        output=_first_shape(output),
        parameters=count(params),
        state=count(state),
        parameter_bytes=tree_bytes(params),
        state_bytes=tree_bytes(state),
        flops=jaxpr_flops(jaxpr),
    )


class _MarkedLog(CallLog):
    """Each call is a program with a name of its own inside the model's, so that what it costs can be found there."""

    def run(self, position: int, call: Callable[..., Any], arguments: PyTree) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        traced = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)}

        def marked(traced: dict[int, Any]) -> Any:
            return call(*jax.tree.unflatten(structure, [traced.get(i, leaf) for i, leaf in enumerate(leaves)]))

        marked.__name__ = f"{_MARK}{position}"
        return jax.jit(marked)(traced)


def _flops_of_calls(jaxpr: Any) -> dict[int | None, int]:
    """Operations of each call by position, without those of the calls inside; None stands for what is outside."""
    found: dict[int | None, int] = defaultdict(int, {None: jaxpr_flops(jaxpr)})

    def visit(jaxpr: Any, owner: int | None, turns: int) -> None:
        for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
            inner, name, owner_inside = inner_jaxprs(equation.params), str(equation.params.get("name", "")), owner
            if name.startswith(_MARK):
                owner_inside = int(name.removeprefix(_MARK))
                flops = turns * sum(map(jaxpr_flops, inner))
                found[owner_inside] += flops
                found[owner] -= flops
            for part, times in zip(inner, _turns(equation, inner), strict=True):
                visit(part, owner_inside, turns * times)

    visit(jaxpr, None, 1)
    return found


def _turns(equation: Any, inner: list[Any]) -> list[int]:
    """How often each of the programs inside an equation counts; of the branches of a `cond` the most expensive does."""
    if equation.primitive.name == "cond":
        flops = list(map(jaxpr_flops, inner))
        return [int(i == flops.index(max(flops))) for i in range(len(inner))]
    return [equation.params["length"] if equation.primitive.name == "scan" else 1] * len(inner)


def _rows(log: CallLog, jaxpr: Any, params: dict[str, Any], state: dict[str, Any]) -> tuple[SummaryRow, ...]:
    flops = _flops_of_calls(jaxpr)
    calls = {i: call for i, call in enumerate(log.calls) if call is not None and i in flops}
    owners = {leaf: _owner(leaf, calls) for leaf in (*params, *state)}

    def sizes(tree: dict[str, Any], positions: Iterable[int | None]) -> int:
        return count([leaf for path, leaf in tree.items() if owners[path] in positions])

    rows = []
    for group in _groups(calls, params):
        call = calls[group[0]]
        held = [owners[path] for path in params if is_below(path, call.path)]
        rows.append(
            SummaryRow(
                path=call.path,
                layer=call.function.__name__,
                output=_first_shape(call.output),
                parameters=sizes(params, group),
                state=sizes(state, group),
                flops=sum(flops[i] for i in group),
                times=_times(call, params),
                shared=bool(held) and not any(group[0] in _nesting(owner, calls) for owner in held),
                depth=len(_nesting(group[0], calls)) - 1,
            )
        )
    for place in dict.fromkeys(_place(path) for path, owner in owners.items() if owner is None):
        rest = [
            {p: leaf for p, leaf in tree.items() if _place(p) == place and owners[p] is None}
            for tree in (params, state)
        ]
        rows.append(SummaryRow(place, NO_LAYER, _first_shape(rest), count(rest[0]), count(rest[1]), 0))
    if flops[None]:
        rows.append(SummaryRow("", NO_LAYER, (), 0, 0, flops[None]))
    return tuple(rows)


def _owner(leaf: str, calls: dict[int, Call]) -> int | None:
    """The innermost call that gets an array, of several the first."""
    owner = None
    for i, call in calls.items():  # a call comes before those inside
        if is_below(leaf, call.path) and (owner is None or owner in _nesting(i, calls)):
            owner = i
    return owner


def _nesting(position: int | None, calls: dict[int, Call]) -> list[int]:
    """A call and those that it is inside of."""
    nesting = []
    while position is not None:
        nesting.append(position)
        position = calls[position].parent
    return nesting


def _times(call: Call, params: dict[str, Any]) -> int:
    """How many parts like the one that a call got the parameters at its path have."""
    whole = count([leaf for path, leaf in params.items() if is_below(path, call.path)])
    part = count(call.args[0] if call.args else call.kwargs["params"])
    return whole // part if part and whole % part == 0 else 1


def _groups(calls: dict[int, Call], params: dict[str, Any]) -> list[list[int]]:
    """The calls that make one row each: a loop in Python calls a repeated layer once for each part."""
    alike: dict[Any, list[int]] = defaultdict(list)
    for i, call in calls.items():
        alike[call.path, call.function, _times(call, params)].append(i)
    groups = []
    for (_, _, times), positions in alike.items():
        rows = len(positions) // times if len(positions) % times == 0 else len(positions)
        groups += [positions[row::rows] for row in range(rows)]
    return sorted(groups)


def _place(path: str) -> str:
    return path.rpartition("/")[0] or path


def _first_shape(tree: PyTree) -> tuple[int, ...]:
    leaves = jax.tree.leaves(tree)
    return tuple(leaves[0].shape) if leaves else ()


def _cells(row: SummaryRow) -> tuple[str, ...]:
    """A row as text, without zeros."""
    layer = row.layer + (f" x {row.times}" if row.times > 1 else "") + (" (shared)" if row.shared else "")
    numbers = [_grouped(number) for number in (row.parameters, row.state, row.flops)]
    output = "" if row.layer == NO_LAYER and not row.path else _shape(row.output)
    return ("  " * row.depth + row.path, layer, output, *numbers)


def _shape(shape: tuple[int, ...]) -> str:
    return str(list(shape))


def _grouped(number: int) -> str:
    return f"{number:,}" if number else ""


def _bytes(size: int) -> str:
    power = min((max(size, 1).bit_length() - 1) // 10, 3)
    return f"{size} B" if power == 0 else f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    """Text columns to the left, numbers to the right."""
    aligned = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(aligned).rstrip()
