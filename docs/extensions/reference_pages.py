"""The reference, generated from the library: one page per public module, found by walking the package.

A new module, or a new name that a package imports for its users, is in the reference without another line anywhere.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import optax

import jaxnets

INTERNAL = ("console", "devices", "extras", "labels", "placement")
"""Private modules of `jaxnets`."""


class Entry(NamedTuple):
    """A public name.

    Attributes:
        module: the module it is imported from.
        name: the name.
        value: what it is.
    """

    module: ModuleType
    name: str
    value: Any

    @property
    def home(self) -> str | None:
        """The module of this library that defines it; None for names from other packages."""
        if not self.is_definition:
            modules = [module for name, module in sorted(sys.modules.items()) if name.startswith(self.module.__name__)]
            annotated = [module.__name__ for module in modules if self.name in inspect.get_annotations(module)]
            return annotated[0] if annotated else self.module.__name__
        home: str = self.value.__module__
        return home if home.split(".")[0] == "jaxnets" else None

    @property
    def is_definition(self) -> bool:
        """Whether it is a function or a class, not a constant or a type alias."""
        root = str(getattr(self.value, "__module__", "")).split(".")[0]
        return root not in ("", *sys.stdlib_module_names)

    @property
    def directive(self) -> str:
        """The directive for autodoc."""
        if not self.is_definition:  # what it means is written below its definition
            return f".. autodata:: {self.home}::{self.name}\n"
        target = f"{self.module.__name__}::{self.name}"
        return (
            f".. autoclass:: {target}\n   :members:\n"
            if inspect.isclass(self.value)
            else f".. autofunction:: {target}\n"
        )


def public_names(module: ModuleType) -> list[str]:
    """What a package imports as `from x import name as name`; of a module `__all__`, or else what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    imports = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom)]
    exported = [alias.name for node in imports for alias in node.names if alias.asname == alias.name]
    defined = [name for name, value in vars(module).items() if name[0] != "_" and _home(value) == module.__name__]
    return exported + defined


def _home(value: Any) -> Any:
    return None if inspect.ismodule(value) else getattr(value, "__module__", None)


def pages() -> dict[str, list[Entry]]:
    """The public names by the module whose page they are on.

    A module of which `jaxnets` itself exports something has no page of its own: that is its public part.
    """
    found = {"jaxnets": _entries(jaxnets)}
    covered = {entry.home for entry in found["jaxnets"]}
    modules = [importlib.import_module(f"jaxnets.{info.name}") for info in pkgutil.iter_modules(jaxnets.__path__)]
    for module in modules:
        modules += [
            value for value in (getattr(module, name) for name in public_names(module)) if inspect.ismodule(value)
        ]
        name = module.__name__
        if name not in covered and name.removeprefix("jaxnets.") not in INTERNAL:
            found[name] = _entries(module)
    return {name: entries for name, entries in sorted(found.items()) if entries}


def _entries(module: ModuleType) -> list[Entry]:
    entries = [Entry(module, name, getattr(module, name)) for name in sorted(public_names(module), key=str.lower)]
    return [entry for entry in entries if not inspect.ismodule(entry.value)]


def page(entries: list[Entry]) -> str:
    """One page as reStructuredText: a section for each file of the module, and names from other packages."""
    module = entries[0].module
    parts = [_heading(module.__name__, "="), f".. automodule:: {module.__name__}\n   :no-index:\n"]
    homes = sorted({entry.home for entry in entries if entry.home is not None})
    for home in homes:
        if len(homes) > 1:
            parts.append(_heading(home.split(".")[-1].replace("_", " "), "-"))
        parts += [entry.directive for entry in entries if entry.home == home]
    foreign = [f"- ``{entry.name}``: ``{_full_name(entry.value)}``" for entry in entries if entry.home is None]
    if foreign:
        parts += [_heading("Taken over from other packages", "-"), "\n".join(foreign) + "\n"]
    return "\n".join(parts)


def _full_name(value: Any) -> str:
    """The public name of an object from another package."""
    for module in (jax, jax.nn, jax.numpy, jax.nn.initializers, optax, optax.losses):
        for name, candidate in vars(module).items():
            if candidate is value:
                return f"{module.__name__}.{name}"
    return f"{value.__module__}.{value.__name__}"


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def write(folder: Path) -> None:
    """Write all pages and their index; unchanged files are not rewritten, so builds stay incremental."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: page(entries) for name, entries in pages().items()}
    names = "\n".join(f"   {name}" for name in texts)
    texts["index"] = f"{_heading('Reference', '=')}\n.. toctree::\n   :maxdepth: 1\n\n{names}\n"
    for old in folder.glob("*.rst"):
        if old.stem not in texts:
            old.unlink()
    for name, text in texts.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
