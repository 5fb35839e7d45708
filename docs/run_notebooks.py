"""Run the notebooks and store their outputs in them: `make notebooks`.

Without names it runs those whose code has changed since; `python docs/run_notebooks.py mnist_cnn` runs one in
any case. The hash of the code is stored beside the outputs, so a test sees when they have to be renewed.
"""

import argparse
import base64
import hashlib
import importlib.metadata
import io
import json
import os
import re
import tempfile
from pathlib import Path
from unittest import mock

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "docs" / "notebooks"
LARGE = 50_000
"""Of how many bytes a figure is stored with a palette."""
OF_THE_MACHINE = re.compile(r"""(?:^|[\s"'(=\[,>]|file://)(?:/[\w.~-]+){2,}|\b[A-Za-z]:\\\w+| at 0x\w+""", re.MULTILINE)
"""An absolute path, on Unix or on Windows, or an address in memory."""


def code_cells(notebook: dict) -> list[dict]:
    """Return the cells with code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_hash(notebook: dict) -> str:
    """Return the SHA-256 of the sources of the code cells, as a JSON list."""
    sources = ["".join(cell["source"]) for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def texts(output: dict) -> list[str]:
    """Return what an output shows in words."""
    data = {kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")}
    return ["".join(text) for text in [output.get("text", ""), *data.values()]]


def faults(notebook: dict) -> list[str]:
    """Return what is wrong with the outputs of a notebook, in words."""
    found = []
    if notebook["metadata"].get("jaxnets", {}).get("code_sha256") != code_hash(notebook):
        found.append("its code is not that of its outputs; run `make notebooks`")
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                found.append(f"code cell {number} failed: {output['ename']}: {output['evalue']}")
            paths = [path for text in texts(output) for path in OF_THE_MACHINE.findall(text)]
            found += [f"code cell {number} shows a path or an address of the machine: {path.strip()}" for path in paths]
    return found


def execute(notebook: dict) -> dict:
    """Return the notebook with the outputs of all cells, run in an empty folder with this checkout."""
    import nbclient
    import nbformat

    running = nbformat.reads(json.dumps(notebook), as_version=4)
    others = ("JAXNETS_NOTEBOOK_SMOKE", "MPLBACKEND")
    known = {name: value for name, value in os.environ.items() if name not in others}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, known, clear=True):
        os.environ["PYTHONPATH"] = str(REPOSITORY)
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(running, timeout=None, record_timing=False, resources=resources).execute()
    return json.loads(nbformat.writes(running))


def smaller(png: str) -> str:
    """Return the PNG of a figure, in base64, without what Matplotlib notes in it, and a large one with a palette.

    The palette is that of an octree, whose colors are off by less than 16 of 255. The ground stays white.
    """
    from PIL import Image

    def write(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return file.getvalue()

    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    content = write(image)
    if len(content) > LARGE:
        reduced = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        palette, ground = reduced.getpalette(), reduced.getpixel((0, 0))
        palette[3 * ground : 3 * ground + 3] = image.getpixel((0, 0))
        reduced.putpalette(palette)
        content = write(reduced)
    return base64.b64encode(content).decode()


def tidy(outputs: list[dict]) -> list[dict]:
    """Return the outputs of a cell with small figures, and with what was printed at once in one piece.

    How the pieces come depends on the moment; a progress bar is one output already, in its last state.
    """
    tidied: list[dict] = []
    for output in outputs:
        data = dict(output.get("data", {}))
        if "image/png" in data:
            data["image/png"] = smaller("".join(data["image/png"]))
        if tidied and output["output_type"] == "stream" and output["name"] == tidied[-1].get("name"):
            lines = "".join([*tidied[-1]["text"], *output["text"]]).splitlines(keepends=True)
            tidied[-1] = {**output, "text": lines}
        else:
            tidied.append({**output, **({"data": data} if data else {})})
    return tidied


def with_outputs(notebook: dict, ran: dict) -> dict:
    """Return the notebook with the outputs of its run, and nothing else of it but the numbers of the cells."""
    cells = [
        {**cell, "execution_count": done["execution_count"], "outputs": tidy(done["outputs"])}
        if cell["cell_type"] == "code"
        else cell
        for cell, done in zip(notebook["cells"], ran["cells"], strict=True)
    ]
    run = {"code_sha256": code_hash(notebook), "ran_with": environment()}
    return {**notebook, "cells": cells, "metadata": {**notebook["metadata"], "jaxnets": run}}


def environment() -> str:
    """Return what numbers may depend on: the version of JAX, and what it computes on."""
    from jaxnets.report.provenance import device

    found = device()
    return f"jax {importlib.metadata.version('jax')} on {found['processor' if found['kind'] == 'cpu' else 'kind']}"


def main() -> None:
    """Run the notebooks of the command line, or those whose outputs are not theirs any more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help="such as mnist_cnn")
    names = parser.parse_args().names
    paths = [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb"))
    if missing := [path.name for path in paths if not path.exists()]:
        parser.error(f"{FOLDER.relative_to(REPOSITORY)} has no {', '.join(missing)}")
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if not names and not faults(notebook):
            print(f"{path.name}: its outputs are those of its code")
            continue
        print(f"{path.name}: running", flush=True)
        renewed = with_outputs(notebook, execute(notebook))
        if found := faults(renewed):
            parser.error(f"{path.name} is left as it was: {'; '.join(found)}")
        path.write_text(json.dumps(renewed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} KB")


if __name__ == "__main__":
    main()
