"""The reference leaves nothing out."""

import importlib.util
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

import jaxnets

ROOT = Path(__file__).parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference_pages = load(ROOT / "docs" / "reference_pages.py")


def everything_public():
    """Every function and class of `jaxnets` in a package, or in the `__all__` of a module, with that module's name."""
    names = ["jaxnets", *(info.name for info in pkgutil.walk_packages(jaxnets.__path__, "jaxnets."))]
    for module in (sys.modules[name] for name in names if name in sys.modules):
        everything = [name for name in vars(module) if name[0] != "_"] if hasattr(module, "__path__") else []
        for name in getattr(module, "__all__", everything):
            value = getattr(module, name)
            if (inspect.isroutine(value) or inspect.isclass(value)) and value.__module__.startswith("jaxnets"):
                yield f"{module.__name__}.{name}", value


def test_reference_has_everything_public():
    pages = reference_pages.pages()
    documented = {id(entry.value) for entries in pages.values() for entry in entries}
    missing = [name for name, value in everything_public() if id(value) not in documented]
    assert not missing
    for page in ("jaxnets", "jaxnets.nn", "jaxnets.nn.initializers", "jaxnets.training", "jaxnets.report"):
        assert page in pages


def test_every_entry_has_one_autodoc_directive():
    for name, entries in reference_pages.pages().items():
        text = reference_pages.page(entries)
        for entry in entries:
            where = entry.directive if entry.home else f"- ``{entry.name}``: "
            assert text.count(where) == 1, f"{name}: {entry.name}"


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("jaxnets", ".. autoclass:: jaxnets::ArraySpec"),
        ("jaxnets.nn", ".. autofunction:: jaxnets.nn::linear"),
        ("jaxnets.nn", "- ``relu``: ``jax.nn.relu``"),
        ("jaxnets.training", ".. autodata:: jaxnets.training.gradient::Loss"),
    ],
)
def test_directives_by_kind(page, line):
    assert line in reference_pages.page(reference_pages.pages()[page])


def test_pages_of_removed_modules_go(tmp_path):
    (tmp_path / "jaxnets.gone.rst").write_text("")
    reference_pages.write(tmp_path)
    names = {file.stem for file in tmp_path.iterdir()}
    assert names == {"index", *reference_pages.pages()}
    index = (tmp_path / "index.rst").read_text()
    assert all(f"   {name}\n" in index for name in reference_pages.pages())


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/index.md", "docs/getting-started.md"])
def test_links_between_files_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text())
    generated = "_generated/"  # made when the documentation is built
    missing = [link for link in links if generated not in link and not (path.parent / link).exists()]
    assert not missing
