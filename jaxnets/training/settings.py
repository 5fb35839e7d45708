"""What has to be the same when a run goes on: sizes and seed, the data, and the settings of the optimizer."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from jaxnets.training.optimizer_arguments import cell_content
from jaxnets.tree import fingerprint

_DEPTH, _VERSION = 24, "version of optax"


def describe_optimizer(step: Any) -> dict[str, str]:
    """Return the settings of a step's optimizer by name, such as its rates: what its functions close over.

    Args:
        step: a training step; what `make_step` and `alternate` return has the attribute `optimizer`.

    Example:
        >>> import optax
        >>> from jaxnets.training import make_step
        >>> found = describe_optimizer(make_step(print, optax.sgd(0.1, momentum=0.9)))
        >>> [value for name, value in sorted(found.items()) if name.endswith("decay")]
        ['0.9']
    """
    found: dict[str, str] = {}
    _describe(getattr(step, "optimizer", None), "", found, ())
    return found | {_VERSION: version("optax")}


def _describe(value: Any, name: str, found: dict[str, str], above: tuple[int, ...]) -> None:
    """Add what is in a value under its name. Functions are read by their closures, and by their own names."""
    if id(value) in above or len(above) > _DEPTH:
        return
    above = (*above, id(value))
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        found[name] = repr(value.item() if isinstance(value, np.generic) else value)
    elif isinstance(value, np.ndarray | jax.Array):
        found[name] = fingerprint(value)[:16]
    elif isinstance(value, Mapping):
        for key, child in value.items():
            _describe(child, f"{name}/{key}", found, above)
    elif isinstance(value, tuple | list):
        for key, child in zip(getattr(value, "_fields", range(len(value))), value, strict=True):
            if key != "init":  # closes over some of the settings of `update`
                _describe(child, f"{name}/{key}", found, above)
    elif isinstance(value, functools.partial):
        for key, child in (("", value.func), ("args", value.args), ("keywords", value.keywords)):
            _describe(child, f"{name}/{key}".rstrip("/"), found, above)
    elif hasattr(value, "__wrapped__"):
        _describe(value.__wrapped__, name, found, above)
    elif hasattr(value, "__code__"):
        found[name] = value.__qualname__
        for key, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            if key not in ("init_fn", "init_fns"):
                _describe(cell_content(cell), f"{name}/{key}", found, above)


def different(there: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ by name, with their old and new values; those of one side alone do not count.

    Example:
        >>> different({"seed": 0, "optimizer": {"rate": "0.1"}}, {"seed": 1, "optimizer": {"rate": "0.2"}})
        {'seed': (0, 1), 'rate': ('0.1', '0.2')}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in given.items():
        old = there.get(name, value)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if old.get(_VERSION) != value.get(_VERSION):
                continue  # its functions may have other names
            names = dict.fromkeys([*old, *value])
            pairs = {key: (old.get(key, "missing"), value.get(key, "missing")) for key in names}
            for key, pair in pairs.items():
                # optax's cosine schedule turns its own 9 into 9.0 when it is first called
                if pair[0].removesuffix(".0") != pair[1].removesuffix(".0"):
                    found[key.strip("/") if _short(key) in found else _short(key)] = pair
        elif old != value:
            found[name] = (old, value)
    return found


def _short(name: str) -> str:
    """The last word of a path that is no number: the name of the setting."""
    words = [word for word in name.split("/") if not word.isdigit()]
    return words[-1] if words else name
