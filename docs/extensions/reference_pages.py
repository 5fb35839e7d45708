"""The reference, generated from the library: a page for each public module, and in it one for each family.

A family is a file that the module takes names from. A new module, or a new name that a package imports for its users,
is in the reference without another line anywhere.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import optax
from markup import markup, role

import jaxnets

INTERNAL = ("console", "devices", "extras", "labels", "placement")
"""Private modules of `jaxnets`."""
LONGEST_FORMULA = 56
"""Of a table, in characters."""
ACRONYMS = {
    "bert", "camvid", "cifar", "clip", "csv", "ctc", "dcgan", "ema", "ett", "fsdd", "gpt", "gru", "iwae", "lora",
    "lstm", "mlp", "mnist", "rnn", "vae", "vgg", "wav",
}  # fmt: skip
NAMES = {
    "efficientnet": "EfficientNet", "film": "FiLM", "googlenet": "GoogLeNet", "idx": "IDX", "lenet5": "LeNet-5",
    "llama": "Llama", "multi30k": "Multi30k", "nnx": "NNX", "resnet": "ResNet", "stablehlo": "StableHLO",
    "torch": "PyTorch", "tst": "TST", "unet": "U-Net", "vit": "ViT",
}  # fmt: skip


class Entry(NamedTuple):
    """A public name.

    Attributes:
        module: the module it is imported from.
        name: the name.
        value: what it is.
        family: the module whose page it is on: the file that `module` takes it from.
    """

    module: ModuleType
    name: str
    value: Any
    family: str

    @property
    def home(self) -> str | None:
        """The module of this library that defines it; None for names from other packages."""
        if not self.is_definition:
            return _assigning_module(self.family, self.name)
        home: str = self.value.__module__
        return home if home.split(".")[0] == "jaxnets" else None

    @property
    def is_definition(self) -> bool:
        """Whether it is a function or a class, not a constant or a type alias."""
        root = str(getattr(self.value, "__module__", "")).split(".")[0]
        return root not in ("", *sys.stdlib_module_names)

    @property
    def path(self) -> str:
        """The name under which it is documented."""
        return f"{self.module.__name__}.{self.name}"

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

    @property
    def summary(self) -> str:
        """The first line of its docstring, as reStructuredText."""
        if self.home is None:
            return f"Taken over from :py:obj:`{full_name(self.value)}`."
        text = inspect.getdoc(self.value) if self.is_definition else _constant_docstring(self.home, self.name)
        return _as_role_markup(_without_long_formula(_first_line(text)))


def public_names(module: ModuleType) -> dict[str, str]:
    """The public names and the modules they come from.

    Of a package what it imports as `from x import name as name`; of a module `__all__`, or else what it defines.
    """
    if hasattr(module, "__all__"):
        return dict.fromkeys(module.__all__, module.__name__)
    imports = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom)]
    exported = {alias.name: str(node.module) for node in imports for alias in node.names if alias.asname == alias.name}
    defined = [name for name, value in vars(module).items() if name[0] != "_" and _home(value) == module.__name__]
    return exported | dict.fromkeys(defined, module.__name__)


def _home(value: Any) -> Any:
    return None if inspect.ismodule(value) else getattr(value, "__module__", None)


@functools.cache
def pages() -> dict[str, list[Entry]]:
    """The public names by the public module that they are imported from.

    A module of which `jaxnets` itself exports something has no page of its own: that is its public part.
    """
    found = {"jaxnets": _entries(jaxnets)}
    covered = {entry.home for entry in found["jaxnets"]}
    names = [info.name for info in pkgutil.iter_modules(jaxnets.__path__) if info.name[0] != "_"]
    modules = [importlib.import_module(f"jaxnets.{name}") for name in names]
    for module in modules:
        modules += [
            value for value in (getattr(module, name) for name in public_names(module)) if inspect.ismodule(value)
        ]
        name = module.__name__
        if name not in covered and name.removeprefix("jaxnets.") not in INTERNAL:
            found[name] = _entries(module)
    return {name: entries for name, entries in sorted(found.items()) if entries}


def public_paths() -> dict[str, str]:
    """All public names with their modules, and the names under which they are documented."""
    found = {entry.path: _documented(entry) for entries in pages().values() for entry in entries}
    return dict(zip(pages(), pages(), strict=True)) | found


def _entries(module: ModuleType) -> list[Entry]:
    entries = [Entry(module, name, getattr(module, name), family) for name, family in public_names(module).items()]
    return sorted((entry for entry in entries if not inspect.ismodule(entry.value)), key=_place)


def _place(entry: Entry) -> tuple[str, int]:
    """By family, in the order of the file; names from elsewhere come last."""
    source = inspect.getsource(sys.modules[entry.family])
    found = re.search(rf"^(?:def|class) {entry.name}\b|^{entry.name}\b.*=", source, flags=re.MULTILINE)
    return entry.family, found.start() if found else len(source)


def families(entries: list[Entry]) -> dict[str, list[Entry]]:
    """The entries of a public module by family."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.family, []).append(entry)
    return found


def texts() -> dict[str, str]:
    """All pages as reStructuredText, by their names."""
    written = {}
    for name, entries in pages().items():
        parts = families(entries)
        if len(parts) == 1:
            written[name] = _whole_page(name, entries)
            continue
        written[name] = _overview(name, parts)
        for family, members in parts.items():
            written[page_of(name, family)] = _family_page(name, family, members)
    written["index"] = _index()
    return written


def page_of(module: str, family: str) -> str:
    """The name of the page of a family."""
    return f"{module}.{family.split('.')[-1]}-family" if family == module else f"{module}.{family.split('.')[-1]}"


def title_of(family: str) -> str:
    """What a family is called: `batch_norm` is "Batch norm", `gru` is "GRU"."""
    words = [NAMES.get(word, word.upper() if word in ACRONYMS else word) for word in family.split(".")[-1].split("_")]
    title = " ".join(words)
    return title[0].upper() + title[1:]


def _whole_page(name: str, entries: list[Entry]) -> str:
    parts = [_heading(name, "="), f".. automodule:: {name}\n   :no-index:\n", _table(entries)]
    return "\n".join([*parts, *_directives(entries)])


def _overview(name: str, parts: dict[str, list[Entry]]) -> str:
    """The page of a module: what it is, and a table of each family."""
    text = [_heading(name, "="), f".. automodule:: {name}\n   :no-index:\n"]
    for family, members in parts.items():
        title = title_of(family)
        text += [_heading(f":doc:`{title} <{page_of(name, family)}>`", "-"), _table(members)]
    listed = "\n".join(f"   {page_of(name, family)}" for family in parts)
    return "\n".join([*text, f".. toctree::\n   :hidden:\n\n{listed}\n"])


def _family_page(name: str, family: str, members: list[Entry]) -> str:
    """The page of a family: what it is, a table of its names, and each of them."""
    parts = [_heading(title_of(family), "="), f".. rubric:: ``{name}``\n   :class: module-of-family\n"]
    if family != name and inspect.getdoc(sys.modules[family]):
        parts.append(f".. automodule:: {family}\n   :no-index:\n")
    return "\n".join([*parts, _table(members), *_directives(members)])


def _table(entries: list[Entry]) -> str:
    """A table of names, each with the first line of its description."""
    rows = "".join(
        f"   * - :py:obj:`{entry.name} <{_documented(entry)}>`\n     - {entry.summary}\n" for entry in entries
    )
    return f".. list-table::\n   :class: names\n   :widths: 30 70\n\n{rows}"


def _documented(entry: Entry) -> str:
    if entry.home is None:
        return full_name(entry.value)
    return entry.path if entry.is_definition else f"{entry.home}.{entry.name}"


def _directives(entries: list[Entry]) -> list[str]:
    return [entry.directive for entry in entries if entry.home is not None]


def _index() -> str:
    """The list of all public modules."""
    rows = "".join(
        f"   * - :doc:`{name}`\n     - {_as_role_markup(_first_line(inspect.getdoc(sys.modules[name])))}\n"
        for name in pages()
    )
    listed = "\n".join(f"   {name}" for name in pages())
    table = f".. list-table::\n   :class: names\n   :widths: 30 70\n\n{rows}"
    return "\n".join([_heading("Reference", "="), table, f".. toctree::\n   :hidden:\n\n{listed}\n"])


def full_name(value: Any) -> str:
    """The public name of an object from another package."""
    for module in (jax.nn, jax.numpy, jax.nn.initializers, jax, optax.losses, optax):
        for name, candidate in vars(module).items():
            if candidate is value:
                return f"{module.__name__}.{name}"
    return f"{value.__module__}.{value.__name__}"


def _constant_docstring(module: str, name: str) -> str:
    """The text below the assignment of a constant or a type alias."""
    for node, following in itertools.pairwise(_statements(module)):
        value = getattr(following, "value", None)
        if name in _assigned(node) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    return ""


def _assigning_module(module: str, name: str) -> str:
    """The module that assigns a constant which another one may have imported from it."""
    for node in _statements(module):
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
            return _assigning_module(str(node.module), name)
    return module


@functools.cache
def _statements(module: str) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(importlib.import_module(module))).body


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _without_long_formula(line: str) -> str:
    """A line without what comes after its colon, if that is a formula too long for a table."""
    text, _, formula = line.partition(": $")
    return f"{text}." if len(formula) > LONGEST_FORMULA else line


def _as_role_markup(text: str) -> str:
    """A line of a docstring as reStructuredText outside of autodoc."""
    return markup(text, role)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def write(folder: Path) -> None:
    """Write all pages; unchanged files are not rewritten, so builds stay incremental."""
    folder.mkdir(parents=True, exist_ok=True)
    written = texts()
    for old in folder.glob("*.rst"):
        if old.stem not in written:
            old.unlink()
    for name, text in written.items():
        file = folder / f"{name}.rst"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
