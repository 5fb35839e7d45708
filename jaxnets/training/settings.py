"""What has to be the same when a run goes on: sizes and seed, the data, and the settings of the optimizer."""

from __future__ import annotations

import functools
import sys
import types
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import jax
import numpy as np

from jaxnets.training.optimizer_arguments import cell_content
from jaxnets.tree import fingerprint

_DEPTH, _VERSION, _PYTHON, _FORMAT = 24, "version of optax", "version of Python", "format of settings"
_LIBRARIES = ("chex", "flax", "jax", "jaxlib", "jaxnets", "numpy", "optax")
"""Their own functions are the same in the same version, and their objects are no settings, but for those of optax."""
_CODE = "/code of "


def describe_optimizer(step: Any) -> dict[str, str]:
    """Return the settings of a step's optimizer by name, such as its rates: what its functions close over.

    Of functions that are not optax's, such as a schedule of one's own, the code counts too.

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
    return found | {_VERSION: version("optax"), _PYTHON: f"{sys.version_info[0]}.{sys.version_info[1]}", _FORMAT: "2"}


def _describe(value: Any, name: str, found: dict[str, str], above: tuple[int, ...]) -> None:
    """Add what is in a value under its name. Functions are read by their names, closures, defaults and code."""
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
            _describe(child, f"{name}/{key}", found, above)
    elif isinstance(value, functools.partial):
        for key, child in (("", value.func), ("args", value.args), ("keywords", value.keywords)):
            _describe(child, f"{name}/{key}".rstrip("/"), found, above)
    elif isinstance(value, types.MethodType):
        found[name] = value.__qualname__
        _describe(value.__self__, name, found, above)
    elif hasattr(value, "__wrapped__"):
        _describe(value.__wrapped__, name, found, above)
    else:
        found[name] = getattr(value, "__qualname__", type(value).__qualname__)
        for key, child in _parts(value):
            _describe(child, f"{name}/{key}", found, above)
        if hasattr(value, "__code__") and not _of_libraries(value):
            found[f"{name}{_CODE}{value.__qualname__}"] = f"{_checksum(value.__code__):08x}"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a function closes over and its defaults, or the attributes of an object, by name."""
    if hasattr(value, "__code__"):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield name, cell_content(cell)
        defaults = value.__defaults__ or ()
        last = value.__code__.co_argcount
        yield from zip(value.__code__.co_varnames[last - len(defaults) : last], defaults, strict=True)
        yield from (value.__kwdefaults__ or {}).items()
    elif not isinstance(value, type | types.ModuleType) and (
        type(value).__module__.startswith("optax") or not _of_libraries(type(value))
    ):
        yield from getattr(value, "__dict__", {}).items()
        yield from ((name, getattr(value, name)) for name in getattr(value, "__slots__", ()) if hasattr(value, name))


def _of_libraries(value: Any) -> bool:
    """Whether a function or class is one of these libraries, or of Python itself."""
    package = (getattr(value, "__module__", None) or "").partition(".")[0]
    return package in _LIBRARIES or package in sys.stdlib_module_names


def _checksum(code: types.CodeType) -> int:
    """Of what a function does, without its texts, which may be descriptions, and the places of its lines."""
    checksum = zlib.crc32(repr((code.co_code, code.co_names)).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            checksum = zlib.crc32(b"%d" % _checksum(constant), checksum)
        elif isinstance(constant, bool | int | float | complex | tuple | None):
            checksum = zlib.crc32(repr(constant).encode(), checksum)
    return checksum


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
            if any(old.get(name) != value.get(name) for name in (_VERSION, _FORMAT)):
                continue  # its functions may have other names
            names = dict.fromkeys(name for name in (*old, *value) if name != _PYTHON)
            if old.get(_PYTHON) != value.get(_PYTHON):  # which compiles the same program to other code
                names = {name: None for name in names if _CODE not in name}
            pairs = {key: (old.get(key, "missing"), value.get(key, "missing")) for key in names}
            for key, pair in pairs.items():
                # optax's cosine schedule turns its own 9 into 9.0 when it is first called
                same = pair[0].removesuffix(".0") == pair[1].removesuffix(".0")
                if not same and found.get(_short(key)) != pair:  # `init` and `update` close over the same settings
                    found[key.strip("/") if _short(key) in found else _short(key)] = pair
        elif old != value:
            found[name] = (old, value)
    return found


def _short(name: str) -> str:
    """The last word of a path that is no number: the name of the setting."""
    words = [word for word in name.split("/") if not word.isdigit()]
    return words[-1] if words else name
