"""Networks of which a part runs as in evaluation while the rest trains."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

from jaxnets.layer import like_params, marked
from jaxnets.model import Model, make_model
from jaxnets.spec import ArraySpec
from jaxnets.types import Key, Params, PyTree, State

_SHOWN = 20


def in_evaluation(model: Model, *patterns: str) -> Model:
    """Let the layers of some paths run with `train=False` always: their batch statistics stay, and nothing is dropped.

    Batch norm with the statistics of small batches of other data spoils pretrained features, also where `freeze` keeps
    its parameters. Parameters still get gradients; `freeze` them too if they are to stay.

    Args:
        model: a network of layers of this library.
        patterns: paths of layers or of parts of the network, as in `freeze`: `"body"`, `"*/norm"`.

    Returns:
        The model, of the same parameters and state.

    Raises:
        ValueError: if there is no pattern, or one matches no layer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import nn
        >>> spec = {"norm": nn.batch_norm_spec(2), "fc": nn.linear_spec(2, 1)}
        >>> def apply(params, state, x, *, key=None, train):
        ...     x, norm = nn.batch_norm(params["norm"], state["norm"], x, train=train)
        ...     return nn.linear(params["fc"], x), {"norm": norm}
        >>> model = in_evaluation(make_model(spec, apply), "norm")
        >>> params, state = model.init(jax.random.key(0))
        >>> _, after = model.apply(params, state, jnp.array([[1.0, 2.0], [3.0, 5.0]]), train=True)
        >>> after["norm"]["mean"], after["norm"]["count"]
        (Array([0., 0.], dtype=float32), Array(0, dtype=int32))

    Warning:
        What a network does outside of its layers does not know of this: `nn.dropout(x, ...)` has no parameters, so it
        drops unless it is inside of a layer of such a path.
    """
    known = [path for path in _layers(model.spec) if path]
    if not patterns:
        raise ValueError("in_evaluation: name at least one pattern of paths, such as in_evaluation(model, 'body')")
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(path, pattern) for path in known):
            shown = ", ".join(known[:_SHOWN]) + ", ..." * (len(known) > _SHOWN)
            raise ValueError(f"in_evaluation: the pattern {pattern!r} matches no layer; there are {shown}")
    run = getattr(model.apply, "__wrapped__", model.apply)

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool) -> tuple[Any, State]:
        outputs: tuple[Any, State] = run(_marked(params, patterns), state, inputs, key=key, train=train)
        return outputs

    apply.__name__ = getattr(run, "__name__", "apply")
    apply.compute_dtype = getattr(model.apply, "compute_dtype", None)  # type: ignore[attr-defined]
    return make_model(model.spec, apply, model.config)


def _layers(spec: PyTree, path: str = "") -> Iterator[str]:
    """The paths of all dicts and lists of a spec."""
    if isinstance(spec, dict | list | tuple) and not isinstance(spec, ArraySpec):
        yield path
        for name, child in spec.items() if isinstance(spec, dict) else enumerate(spec):
            yield from _layers(child, f"{path}/{name}" if path else str(name))


def _marked(params: PyTree, patterns: tuple[str, ...], path: str = "") -> PyTree:
    """The same tree, with the dicts marked whose paths match, and all below them."""
    if path and any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
        return marked(params, evaluated=True)
    join = f"{path}/" if path else ""
    if isinstance(params, dict):
        return like_params(params, {name: _marked(child, patterns, f"{join}{name}") for name, child in params.items()})
    if isinstance(params, list):
        return [_marked(child, patterns, f"{join}{i}") for i, child in enumerate(params)]
    return params
