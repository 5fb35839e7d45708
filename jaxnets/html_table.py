"""Tables that a notebook shows, and the text that others print."""

from __future__ import annotations

import html
from collections.abc import Sequence


class TableText(str):
    """The text of a table, which a notebook shows as HTML when it is the last value of a cell.

    Example:
        >>> table = TableText("a  1", html_table(["name", "number"], [["a", "1"]]))
        >>> print(table)
        a  1
        >>> table._repr_html_() == html_table(["name", "number"], [["a", "1"]])
        True
    """

    __slots__ = ("_html",)
    _html: str

    def __new__(cls, text: str, as_html: str) -> TableText:
        """Take the text, and the same table as HTML."""
        made = super().__new__(cls, text)
        made._html = as_html
        return made

    def _repr_html_(self) -> str:
        return self._html


def html_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    words: int = 1,
    total: bool = False,
    notes: Sequence[str] = (),
) -> str:
    """Write a table as HTML, all text escaped.

    Args:
        header: the names of the columns.
        rows: the cells; a row may end early.
        words: how many columns, from the left, are words, which are written from the left; numbers are on the right.
        total: whether the last row is a total.
        notes: paragraphs below.

    Example:
        >>> html_table(["name", "x < 1"], [["a", "0.5"]]).count("&lt;")
        1
    """

    def cells(tag: str, values: Sequence[str]) -> str:
        aligned = ("left" if i < words else "right" for i in range(len(values)))
        return "".join(
            f'<{tag} style="text-align: {side}; white-space: pre-wrap">{html.escape(value)}</{tag}>'
            for side, value in zip(aligned, values, strict=True)
        )

    filled = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    body = "".join(
        f"<tr>{cells('th' if total and i == len(filled) else 'td', row)}</tr>" for i, row in enumerate(filled, start=1)
    )
    below = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    return f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>{body}</tbody></table>{below}"
