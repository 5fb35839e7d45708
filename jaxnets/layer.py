"""What turns a plain function into a layer: errors that name its path, and calls that `summary` can record.

A layer is a function whose first argument is its own dict of parameters. `@layer` adds nothing to what it computes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax

from jaxnets.types import PyTree

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def layer(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make `function(params, ...)` a layer of this library.

    An error raised in it remembers which params it was called with, so that whatever composes layers can add the
    layer's path (see `locate_errors`). Missing parameters become a ValueError that lists what there is.

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

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        params = args[0] if args else kwargs.get("params")
        try:
            if isinstance(params, RecordedParams):
                return params.record(function, args, kwargs)
            return function(*args, **kwargs)
        except KeyError as error:
            if not isinstance(params, dict) or error.args[0] in params:
                raise
            name = function.__name__
            missing = ValueError(
                f"{name}: params have no {error.args[0]!r}, they hold {sorted(params)}; "
                f"pass what init({name}_spec(...), key) returned"
            )
            _remember(missing, params)
            raise missing from error
        except (ValueError, TypeError) as error:
            _remember(error, params)
            raise

    return call


class _Culprit(NamedTuple):
    """Which layer an error came from: its params, and below which path inside them."""

    params: Any
    path: str


_ATTRIBUTE = "_jaxnets_culprit"


def _remember(error: Exception, params: Any) -> None:
    if not hasattr(error, _ATTRIBUTE):
        setattr(error, _ATTRIBUTE, _Culprit(params, ""))


@contextlib.contextmanager
def locate_errors(params: PyTree, known_as: PyTree | None = None) -> Iterator[None]:
    """Add the layer's path to errors raised inside, as the note `in layer 'block2/conv1'`.

    The layer that failed is found in `params` by identity. Nested uses extend the same note.

    Args:
        params: the tree of parameters whose layers are called inside.
        known_as: what `params` was made of, if the caller knows it as another tree (scan, for example, makes the
            params of one block from those of all blocks).

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import nn
        >>> params = {"fc1": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}}
        >>> try:
        ...     with locate_errors(params):
        ...         nn.linear(params["fc1"], jnp.ones((1, 4)))
        ... except ValueError as error:
        ...     print(error.__notes__[0])
        in layer 'fc1'
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        culprit: _Culprit | None = getattr(error, _ATTRIBUTE, None)
        outer = None if culprit is None else _path_of(culprit.params, params)
        if culprit is not None and outer is not None:
            path = "/".join(part for part in (outer, culprit.path) if part)
            notes = [note for note in getattr(error, "__notes__", []) if note != f"in layer '{culprit.path}'"]
            error.__notes__ = [*notes, f"in layer '{path}'"] if path else notes
            setattr(error, _ATTRIBUTE, _Culprit(params if known_as is None else known_as, path))
        raise


def _path_of(culprit: Any, tree: Any) -> str | None:
    """The path of the object `culprit` in nested dicts and lists, "" for the tree itself, None if it is not there."""
    if culprit is tree:
        return ""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    for name, child in items:
        path = _path_of(culprit, child)
        if path is not None:
            return f"{name}/{path}" if path else str(name)
    return None


class Call(NamedTuple):
    """One call of a layer, as `summary` records it, with shapes in the place of arrays."""

    path: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class CallLog:
    """The calls of layers in the order in which they began; compared by identity, so that a pytree can carry it."""

    def __init__(self) -> None:
        self.calls: list[Call | None] = []


class RecordedParams(dict[str, Any]):
    """A dict of parameters that knows its path and notes which layers are called with it.

    The record travels with the argument: there is no ambient context, and it survives `tree.map`, `scan` and `vmap`.
    """

    def __init__(self, items: dict[str, Any], path: str, log: CallLog):
        super().__init__(items)
        self.path = path
        self.log = log

    def record(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        """Call the layer and note the call; a layer comes before those that it calls."""
        position = len(self.log.calls)
        self.log.calls.append(None)
        output = function(*args, **kwargs)
        self.log.calls[position] = Call(self.path, function, *_described((args, kwargs, output)))
        return output


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
    names = tuple(sorted(node))
    return [(jax.tree_util.DictKey(name), node[name]) for name in names], (names, node.path, node.log)


def _unflatten(description: Any, children: Any) -> RecordedParams:
    names, path, log = description
    return RecordedParams(dict(zip(names, children, strict=True)), path, log)


jax.tree_util.register_pytree_with_keys(RecordedParams, _flatten, _unflatten)
