"""How Sphinx builds this documentation: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import reference_pages

import jaxnets
import jaxnets.types

project = "jaxnets"
author = "The jaxnets developers"
release = version = jaxnets.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "jaxnets"
html_copy_source = False
html_show_copyright = False

maximum_signature_line_length = 88
add_module_names = False
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_type_aliases = {name: name for name in [*jaxnets.types.__all__, "Spec"]}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Reference"]

reference_pages.write(Path(__file__).parent / "reference" / "_generated")


DOCTEST, CODE, PLAIN = r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*", r"`+[^`]+`+", r"[|*]|(?<=\w)_(?=\W|$)"


def escape(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` in backticks: what else reStructuredText would interpret is escaped."""

    def replace(match: re.Match[str]) -> str:
        text = match.group()
        if text.lstrip().startswith(">>>"):
            return text
        if not text.startswith("`"):
            return f"\\{text}"
        before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
        separators = ["\\ " if character.isalnum() else "" for character in (before, after)]
        return f"{separators[0]}``{text.strip('`')}``{separators[1]}"

    lines[:] = re.sub(f"{DOCTEST}|{CODE}|{PLAIN}", replace, "\n".join(lines), flags=re.MULTILINE).split("\n")


def name_aliases(app: Any, what: str, name: str, value: Any, options: Any, signature: Any, result: Any) -> Any:
    """Show type aliases such as `Params` by their names."""
    return tuple(text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (signature, result))


def skip_fields(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """The fields of a NamedTuple are described under Attributes."""
    return True if type(value).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("autodoc-process-docstring", escape, priority=100)
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("autodoc-skip-member", skip_fields)
