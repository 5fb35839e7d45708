"""Fill in the templates of the pages, which escape all that they are given."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.extras import needed_for
from jaxnets.report.pages.record import number, setting
from jaxnets.report.progress import format_seconds

FOLDER = Path(__file__).parent / "templates"
PICTURES = {
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
TEXTS = (".txt", ".md")
MOST_PICTURE_BYTES = 20_000_000
MOST_CHARACTERS = 8_000
TITLES = {
    "confusion": "Confusion matrix",
    "curves": "Curves, as drawn at the end",
    "mistakes": "Most confident mistakes",
    "summary": "Layers of the model",
}


class Picture(NamedTuple):
    """A picture inside of a page."""

    name: str
    title: str
    source: str


class Text(NamedTuple):
    """The beginning of a text file."""

    name: str
    title: str
    text: str
    cut: str


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Raises:
        MissingPackageError: an ImportError, if jinja2 is not installed.
    """
    with needed_for("a report"):
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "setting": setting, "seconds": format_seconds}
    own = {name: (FOLDER / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return environment.get_template(template).render(own=own, **values)


def pictures_in(folder: Path) -> tuple[list[Picture], list[str]]:
    """The pictures of a folder, and the names of those that would make the page too large."""
    pictures, left_out, size = [], [], 0
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES]
    for file in sorted(files, key=lambda file: (file.stem == "curves", file.stem not in TITLES, file.name)):
        content = file.read_bytes()
        if size + len(content) > MOST_PICTURE_BYTES:
            left_out.append(file.name)
            continue
        size += len(content)
        kind, coded = PICTURES[file.suffix.lower()], base64.b64encode(content).decode()
        pictures.append(Picture(file.name, title_of(file), f"data:{kind};base64,{coded}"))
    return pictures, left_out


def texts_in(folder: Path, without: Sequence[str] = ()) -> list[Text]:
    """The beginnings of the text files of a folder."""
    texts = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in TEXTS or file.name in without:
            continue
        whole = file.read_text(encoding="utf-8", errors="replace")
        cut = f"the first {MOST_CHARACTERS:,} of {len(whole):,} characters" if len(whole) > MOST_CHARACTERS else ""
        texts.append(Text(file.name, title_of(file), whole[:MOST_CHARACTERS], cut))
    return texts


def title_of(file: Path) -> str:
    """What a file of a run shows.

    Example:
        >>> title_of(Path("confusion.png")), title_of(Path("error_surfaces.png"))
        ('Confusion matrix', 'Error surfaces')
    """
    words = file.stem.replace("_", " ")
    return TITLES.get(file.stem, words[:1].upper() + words[1:])
