"""What turns a plain function into a layer: errors that name its path, and calls that `summary` can record.

A layer is a function whose first argument is its own dict of parameters. `@layer` adds nothing to what it computes.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import PyTree

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def names_errors(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let the errors raised in a function begin with its name, so that no check has to be told it.

    Of nested functions the innermost one is named. Only ValueError and TypeError themselves get a name.

    Example:
        >>> @names_errors
        ... def half(x):
        ...     if x % 2:
        ...         raise ValueError(f"x must be even, got {x}")
        ...     return x // 2
        >>> half(3)
        Traceback (most recent call last):
        ...
        ValueError: half: x must be even, got 3
    """

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            _add_name(error, function.__name__)
            raise

    return call


def _add_name(error: Exception, name: str) -> None:
    # Subclasses, such as JAX's own, may have other arguments than a message.
    if type(error) in (ValueError, TypeError) and not hasattr(error, _NAMED) and len(error.args) == 1:
        message = str(error.args[0])
        error.args = (message if message.startswith(f"{name}: ") else f"{name}: {message}",)
        setattr(error, _NAMED, name)


_NAMED = "_jaxnets_function"


def layer(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make `function(params, ...)` a layer of this library.

    Errors begin with the name of the function, and missing parameters become a ValueError that lists what there is.
    The path of the layer is added to an error by `make_model`.

    Example:
        >>> import jax.numpy as jnp
        >>> @layer
        ... def gain(params, x):
        ...     return x * params["gain"]
        >>> gain({"scale": jnp.ones(3)}, jnp.ones(3))
        Traceback (most recent call last):
        ...
        ValueError: gain: params have no 'gain', they hold ['scale']; pass what init(gain_spec(...), key) returned
    """
    takes_axis_name = "axis_name" in inspect.signature(function).parameters

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        args = tuple(_in_precision_of_jax(value) for value in args)  # type: ignore[assignment]
        kwargs.update({name: _in_precision_of_jax(value) for name, value in kwargs.items()})
        params = args[0] if args else kwargs.get("params")
        try:
            if isinstance(kwargs.get("train"), jax.core.Tracer):
                raise TypeError(
                    "train must be True or False, got a traced array: it decides what is traced; "
                    "write jax.jit(..., static_argnames='train')"
                )
            marks: Marks = getattr(params, "marks", NO_MARKS)
            if marks.evaluated and kwargs.get("train"):
                kwargs["train"] = False
            if marks.axis_name is not None and takes_axis_name and kwargs.get("axis_name") is None:
                kwargs["axis_name"] = marks.axis_name
            if isinstance(params, RecordedParams):
                return params.record(function, args, kwargs)
            if marks.placed is not None:
                return marks.placed.run(function, args, kwargs)
            return function(*args, **kwargs)
        except KeyError as error:
            if not isinstance(params, dict) or error.args[0] in params:
                raise
            name = function.__name__
            raise ValueError(
                f"{name}: params have no {error.args[0]!r}, they hold {sorted(params)}; "
                f"pass what init({name}_spec(...), key) returned"
            ) from error
        except (ValueError, TypeError) as error:
            _add_name(error, function.__name__)
            raise

    call.is_layer = True  # type: ignore[attr-defined]
    return call


def _in_precision_of_jax(value: Any) -> Any:
    """Take float64 arrays of NumPy as JAX's functions do, in float32 without x64; anything else as it is."""
    return jax.tree.map(_converted, value) if isinstance(value, tuple) else _converted(value)  # a carry is a tuple


def _converted(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value


def name_layer(error: Exception, run: Callable[[PyTree], Any], params: PyTree) -> None:
    """Add the note `in layer 'block2/conv1'` to an error, by running again with params that know their path."""
    log = CallLog()
    try:
        jax.eval_shape(lambda: run(recorded(params, log)))
    except Exception as same:
        if log.failed and log.error in (same, same.__cause__):
            others = [note for note in getattr(error, "__notes__", []) if not note.startswith("in layer ")]
            error.__notes__ = [*others, f"in layer '{log.failed}'"]


def missing_name(error: KeyError, run: Callable[..., Any], params: PyTree, state: PyTree) -> ValueError | None:
    """Say which name `run(params, state)` misspelled, by running again; None if the error has nothing to do with them.

    Example:
        >>> params = {"block": [{"fc1": 1.0}]}
        >>> print(missing_name(KeyError("fcc1"), lambda params, state: params["block"][0]["fcc1"], params, {}))
        params['block'][0] has no 'fcc1', it holds ['fc1']; write params['block'][0]['fc1']
    """
    logs = {"params": CallLog(), "state": CallLog()}
    try:
        jax.eval_shape(lambda: run(recorded(params, logs["params"]), recorded(state, logs["state"])))
    except Exception as same:
        for tree, log in logs.items():
            if same is log.error and same.args == error.args:
                return _misspelled(tree, error.args[0], log)
    return None


def _misspelled(tree: str, name: Any, log: CallLog) -> ValueError:
    steps = [step for step in (log.failed or "").split("/") if step]
    place = tree + "".join(f"[{step}]" if step.isdigit() else f"[{step!r}]" for step in steps)
    similar = difflib.get_close_matches(str(name), log.names, n=1)
    advice = f"; write {place}[{similar[0]!r}]" if similar else ""
    return ValueError(f"{place} has no {name!r}, it holds {log.names}{advice}")


class Call(NamedTuple):
    """One call of a layer, as `summary` records it, with shapes in the place of arrays.

    `parent` is the position of the call that it is inside of.
    """

    path: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    parent: int | None


class Placed(Protocol):
    """Where parameters lie on a mesh of devices, and how a layer runs with them; see `jaxnets.placement`."""

    @property
    def gathers(self) -> bool:
        """Whether a layer gathers parameters from the devices that divide the batch."""

    def run(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        """Run a layer whose parameters have this mark."""

    def split(self) -> Any:
        """Return how batch and heads are divided, if these are the parameters of queries."""


class Marks(NamedTuple):
    """What a dict of parameters tells the layers that are called with it, beside its arrays.

    The marks travel with the argument, through `tree.map`, `scan` and `vmap`: there is no ambient context.

    Attributes:
        evaluated: layers run with `train=False`, also when they are called with `train=True`.
        axis_name: the axis of devices that layers with batch statistics get, unless they are given one.
        placed: where the parameters lie on a mesh.
        recomputed: the layers run in a checkpoint, which says what is kept for the gradient.
    """

    evaluated: bool = False
    axis_name: str | None = None
    placed: Placed | None = None
    recomputed: bool = False


NO_MARKS = Marks()


class MarkedParams(dict[str, Any]):
    """A dict of parameters with `Marks`."""

    def __init__(self, items: dict[str, Any], marks: Marks):
        super().__init__(items)
        self.marks = marks


def marked(params: PyTree, **changes: Any) -> PyTree:
    """Mark all dicts of a tree; they keep their other marks, and those that record calls go on recording.

    Args:
        params: a tree of parameters.
        **changes: fields of `Marks`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import nn
        >>> statistics = {"mean": jnp.zeros(1), "variance": jnp.ones(1), "count": jnp.array(5)}
        >>> params = marked({}, evaluated=True)
        >>> nn.batch_norm(params, statistics, jnp.ones((2, 1)), train=True, epsilon=0.0)[0].ravel()
        Array([1., 1.], dtype=float32)
    """
    if isinstance(params, dict):
        children = {name: marked(child, **changes) for name, child in params.items()}
        return like_params(params, children, getattr(params, "marks", NO_MARKS)._replace(**changes))
    return [marked(child, **changes) for child in params] if isinstance(params, list) else params


def like_params(params: dict[str, Any], children: dict[str, Any], marks: Marks | None = None) -> dict[str, Any]:
    """Return a dict of the same kind with other children, and with other marks if there are any."""
    marks = getattr(params, "marks", NO_MARKS) if marks is None else marks
    if isinstance(params, RecordedParams):
        return RecordedParams(children, params.path, params.log, marks)
    return children if marks == NO_MARKS else MarkedParams(children, marks)


class CallLog:
    """The calls of layers in the order in which they began; compared by identity, so that a pytree can carry it."""

    def __init__(self) -> None:
        self.calls: list[Call | None] = []
        self.failed: str | None = None
        self.error: Exception | None = None
        self.names: list[str] = []
        self.running: list[int] = []

    def run(self, position: int, call: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        """Run the call at a position; `summary` marks it."""
        return call(*arguments)

    def fail(self, error: Exception, path: str) -> None:
        """Note where an error was raised: of nested layers in the innermost one, of several errors the last."""
        if error is not self.error:
            self.failed, self.error = path, error


class RecordedParams(dict[str, Any]):
    """A dict of parameters that knows its path and notes which layers are called with it.

    The record travels with the argument, as `Marks` do.
    """

    def __init__(self, items: dict[str, Any], path: str, log: CallLog, marks: Marks = NO_MARKS):
        super().__init__(items)
        self.path = path
        self.log = log
        self.marks = marks

    def __missing__(self, name: Any) -> Any:
        """Note where a name was looked for that does not exist."""
        error = KeyError(name)
        self.log.fail(error, self.path)
        self.log.names = sorted(map(str, self))
        raise error

    def record(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        """Call the layer and note the call; a layer comes before those that it calls."""
        log, position = self.log, len(self.log.calls)
        parent = log.running[-1] if log.running else None
        log.calls.append(None)
        log.running.append(position)
        try:
            output = log.run(position, lambda args, kwargs: function(*args, **kwargs), (args, kwargs))
        except Exception as error:
            log.fail(error, self.path)
            raise
        finally:
            log.running.pop()
        args, kwargs, described = _described((args, kwargs, output))
        log.calls[position] = Call(self.path, function, args, kwargs, described, parent)
        return output


def plain(tree: PyTree) -> PyTree:
    """Return a tree of `recorded` with plain dicts."""
    if isinstance(tree, RecordedParams):
        return {name: plain(child) for name, child in tree.items()}
    return [plain(child) for child in tree] if isinstance(tree, list) else tree


def _described(tree: Any) -> Any:
    """The same tree with shapes in the place of arrays, and plain dicts of params."""

    def describe(leaf: Any) -> Any:
        if isinstance(leaf, RecordedParams):
            return jax.tree.map(describe, dict(leaf), is_leaf=lambda node: isinstance(node, RecordedParams))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(describe, tree, is_leaf=lambda node: isinstance(node, RecordedParams))


def recorded(params: PyTree, log: CallLog, path: str = "") -> PyTree:
    """Return `params` with every dict replaced by one that notes the calls of its layers in `log`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import nn
        >>> log = CallLog()
        >>> params = recorded({"fc": {"kernel": jnp.ones((3, 2))}}, log)
        >>> _ = nn.linear(params["fc"], jnp.ones((1, 3)))
        >>> [(call.path, call.function.__name__, call.output.shape) for call in log.calls]
        [('fc', 'linear', (1, 2))]
    """
    join = f"{path}/" if path else ""
    if isinstance(params, dict):
        return RecordedParams({k: recorded(v, log, f"{join}{k}") for k, v in params.items()}, path, log)
    if isinstance(params, list):
        return [recorded(child, log, f"{join}{i}") for i, child in enumerate(params)]
    return params


def _flatten(node: RecordedParams) -> tuple[list[tuple[Any, Any]], Any]:
    return _children(node), (tuple(sorted(node)), node.path, node.log, node.marks)


def _unflatten(description: Any, children: Any) -> RecordedParams:
    names, *rest = description
    return RecordedParams(dict(zip(names, children, strict=True)), *rest)


def _children(node: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(jax.tree_util.DictKey(name), node[name]) for name in sorted(node)]


jax.tree_util.register_pytree_with_keys(RecordedParams, _flatten, _unflatten)
jax.tree_util.register_pytree_with_keys(
    MarkedParams,
    lambda node: (_children(node), (tuple(sorted(node)), node.marks)),
    lambda description, children: MarkedParams(dict(zip(description[0], children, strict=True)), description[1]),
)
