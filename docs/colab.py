"""Write the notebooks for Colab, each with the library inside it: `python docs/colab.py build/colab`.

The first code cell gets a wheel of this checkout, and installs it without changing the runtime's JAX.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
INSTALL = '''#@title Install jaxnets, which is inside this cell, and what is missing beside it. JAX stays as it is.
import base64
import importlib
import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

WHEEL = """
{content}
"""

if importlib.util.find_spec("jaxnets") is None:
    folder = pathlib.Path(tempfile.mkdtemp())
    wheel, kept = folder / "{name}", folder / "kept.txt"
    wheel.write_bytes(base64.b64decode(WHEEL))
    installed = [name for name in ("jax", "jaxlib", "numpy") if importlib.util.find_spec(name)]
    kept.write_text("\\n".join(f"{{name}}=={{importlib.metadata.version(name)}}" for name in installed))
    missing = [name for name in ("matplotlib", "rich") if importlib.util.find_spec(name) is None]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", kept, wheel, *missing]
    subprocess.run(command, check=True)
    importlib.invalidate_caches()
'''


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout in a folder and return its path."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def with_library(notebook: dict, wheel: Path) -> dict:
    """Return the notebook with the wheel in its first code cell, and without outputs, which are of another run."""
    content = "\n".join(textwrap.wrap(base64.b64encode(wheel.read_bytes()).decode(), 120))
    source = INSTALL.format(name=wheel.name, content=content).splitlines(keepends=True)
    first = next(index for index, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code")
    # Colab shows a cell of this kind by its title alone.
    cell = {**notebook["cells"][first], "source": source, "metadata": {"cellView": "form"}}
    cells = [*notebook["cells"][:first], cell, *notebook["cells"][first + 1 :]]
    empty = {"outputs": [], "execution_count": None}
    cells = [{**cell, **empty} if cell["cell_type"] == "code" else cell for cell in cells]
    metadata = {name: value for name, value in notebook["metadata"].items() if name != "jaxnets"}
    return {**notebook, "cells": cells, "metadata": metadata}


def main() -> None:
    """Write the notebooks to the folder of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        wheel = build_wheel(Path(temporary))
        for path in NOTEBOOKS:
            notebook = with_library(json.loads(path.read_text(encoding="utf-8")), wheel)
            out = folder / path.name
            out.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{out}: {out.stat().st_size / 1024:,.0f} KiB")
    print("upload one to Colab")


if __name__ == "__main__":
    main()
