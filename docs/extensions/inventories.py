"""Inventories for `sphinx.ext.intersphinx`, written from the list of names in `inventories.toml`."""

from __future__ import annotations

import tomllib
import zlib
from pathlib import Path
from typing import Any

HEAD = """# Sphinx inventory version 2
# Project: {project}
# Version:
# The remainder of this file is compressed using zlib.
"""


def write(listed: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory for each project.

    Args:
        listed: the TOML file of names.
        folder: where to write.

    Returns:
        `intersphinx_mapping`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, content in tomllib.loads(listed.read_text(encoding="utf-8")).items():
        lines = "".join(
            f"{name} py:function 1 {place} -\n" for name, place in sorted(_places(content["pages"]).items())
        )
        path = folder / f"{project}.inv"
        path.write_bytes(HEAD.format(project=project).encode() + zlib.compress(lines.encode()))
        mapping[project] = (content["address"], str(path))
    return mapping


def _places(pages: dict[str, Any]) -> dict[str, str]:
    return {
        name: place.format(name=name, last=name.rpartition(".")[2]) for place, names in pages.items() for name in names
    }
