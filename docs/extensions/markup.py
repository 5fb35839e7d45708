"""Docstrings as reStructuredText. They are plain text with `code` in backticks and `$formulas$` between dollars.

A formula of a docstring is marked by a stand-in of the same length until the page is a tree (`mathematics.Formulas`),
so that it may hold what reStructuredText would interpret, and tables keep the widths of their columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from formulas import to_latex

DOCTEST = r"^[ \t]*>>>.*(?:\n[ \t]*\S.*)*"
CODE = r"`+[^`]+`+"
FORMULA = r"\$[^$]+\$"
PLAIN = r"[|*]|(?<=\w)_(?=\W|$)"
FIRST, REST = 0xF0000, "\ue000"
"""A stand-in is a private character, the number of its formula, and others that fill it up to the formula's length."""
STAND_IN = re.compile(f"([\U000f0000-\U000ffffd]){REST}*")
_known: list[str] = []


def stand_in(formula: str) -> str:
    """What takes the place of a formula while Sphinx reads the text."""
    if formula not in _known:
        _known.append(formula)
    return chr(FIRST + _known.index(formula)) + REST * (len(formula) - 1)


def formula_of(found: re.Match[str]) -> str:
    """The formula, without its dollars, that a match of `STAND_IN` stands for."""
    return _known[ord(found[1]) - FIRST].strip("$")


def role(formula: str) -> str:
    """A formula as reStructuredText has them, for pages that are written to files."""
    return f":math:`{to_latex(formula.strip('$'))}`"


def markup(text: str, formula: Callable[[str], str] = stand_in) -> str:
    """Escape what reStructuredText would interpret.

    Args:
        text: of a docstring.
        formula: what to write for a formula.

    Returns:
        reStructuredText.
    """

    def replace(match: re.Match[str]) -> str:
        text = match.group()
        if text.lstrip().startswith(">>>"):
            return text
        if text.startswith("$"):
            return formula(text)
        if not text.startswith("`"):
            return f"\\{text}"
        before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
        separators = ["\\ " if character.isalnum() else "" for character in (before, after)]
        return f"{separators[0]}``{text.strip('`')}``{separators[1]}"

    return re.sub(f"{DOCTEST}|{CODE}|{FORMULA}|{PLAIN}", replace, text, flags=re.MULTILINE)
