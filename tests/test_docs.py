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


sys.path.insert(0, str(ROOT / "docs" / "extensions"))
reference_pages = load(ROOT / "docs" / "extensions" / "reference_pages.py")


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


def test_every_entry_is_described_on_one_page():
    """And it is in the table of that page and in that of its module."""
    texts = reference_pages.texts()
    everything = "\n".join(texts.values())
    for name, entries in reference_pages.pages().items():
        for entry in entries:
            if entry.home is None:
                assert f"   * - :py:obj:`{entry.name} <" in texts[name], f"{name}: {entry.name}"
            else:
                assert everything.count(entry.directive) == 1, f"{name}: {entry.name}"


@pytest.mark.parametrize(
    ("page", "line"),
    [
        ("jaxnets.spec", ".. autoclass:: jaxnets::ArraySpec"),
        ("jaxnets.nn.linear", ".. autofunction:: jaxnets.nn::linear"),
        ("jaxnets.nn.activations", "   * - :py:obj:`relu <jax.nn.relu>`"),
        ("jaxnets.training.gradient", ".. autodata:: jaxnets.training.gradient::Loss"),
        ("jaxnets.nn.residual", ".. autodata:: jaxnets.nn.residual::BOTTLENECK_EXPANSION"),
        ("jaxnets.nn", ":doc:`Convolution <jaxnets.nn.convolution>`"),
    ],
)
def test_pages_by_family(page, line):
    assert line in reference_pages.texts()[page]


def test_every_constant_says_what_it_is():
    """Or Sphinx would show the docstring of the class of its value."""
    entries = [entry for entries in reference_pages.pages().values() for entry in entries if not entry.is_definition]
    assert len(entries) > 10
    assert not [entry.path for entry in entries if not entry.summary]


def test_pages_of_removed_modules_go(tmp_path):
    (tmp_path / "jaxnets.gone.rst").write_text("")
    reference_pages.write(tmp_path)
    texts = reference_pages.texts()
    assert {file.stem for file in tmp_path.iterdir()} == set(texts)
    listed = {line.strip() for text in texts.values() for line in text.splitlines()}
    assert set(texts) - {"index"} <= listed


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/index.md", "docs/getting-started.md"])
def test_links_between_files_lead_somewhere(document):
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", path.read_text())
    generated = "reference/"  # made when the documentation is built
    missing = [link for link in links if generated not in link and not (path.parent / link).exists()]
    assert not missing
