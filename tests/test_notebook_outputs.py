"""The outputs that the notebooks are stored with are those of their code, and say nothing of the machine."""

import base64
import copy
import hashlib
import io
import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

from tests.test_docs import load

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
run_notebooks = load(ROOT / "docs" / "run_notebooks.py")
PATHS = [
    "/srv/runs/1",
    "file:///usr/lib/a.py",
    "at '/home/me/x.py'",
    r"C:\Users\me",
    "<b>/opt/jax/x</b>",
    "<A at 0x7f1c>",
]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_the_outputs_of_its_code(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(nbformat.reads(path.read_text(encoding="utf-8"), as_version=4))
    assert run_notebooks.faults(notebook) == []
    for cell in run_notebooks.code_cells(notebook):
        pictures = [output for output in cell["outputs"] if "image/png" in output.get("data", {})]
        assert not pictures or cell["metadata"]["mystnb"]["image"]["alt"]  # what a screen reader says of a figure
    numbers = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert path.stat().st_size < 300_000
    assert notebook["metadata"]["jaxnets"]["ran_with"] in " ".join((ROOT / "docs" / "notebooks.md").read_text().split())


def notebook_of(source, *outputs):
    cell = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": 1,
        "source": [source],
        "outputs": outputs,
    }
    digest = hashlib.sha256(json.dumps([source]).encode()).hexdigest()
    return {"cells": [cell], "metadata": {"jaxnets": {"code_sha256": digest}}, "nbformat": 4, "nbformat_minor": 5}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": [text]}


def test_changed_code_needs_new_outputs_but_changed_words_do_not():
    notebook = notebook_of("print(1)", printed("1\n"))
    notebook["cells"].append({"cell_type": "markdown", "id": "b", "metadata": {}, "source": ["words"]})
    assert run_notebooks.faults(notebook) == []
    changed = copy.deepcopy(notebook)
    changed["cells"][0]["source"] = ["print(2)"]
    assert run_notebooks.faults(changed) == ["its code is not that of its outputs; run `make notebooks`"]
    del notebook["metadata"]["jaxnets"]
    assert run_notebooks.faults(notebook) == ["its code is not that of its outputs; run `make notebooks`"]


def test_an_output_is_neither_an_error_nor_does_it_name_the_machine():
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    assert run_notebooks.faults(notebook_of("f()", error)) == ["code cell 1 failed: ValueError: no"]
    for text in PATHS:
        shown = {"output_type": "display_data", "metadata": {}, "data": {"text/html": [text]}}
        for output in (printed(f"1\n{text}"), shown):
            assert len(run_notebooks.faults(notebook_of("f()", output))) == 1, text
    for text in ("epoch 1/5", "<td>1</td></tr>", "and/or/not", "runs/a/b", "https://x.org/a/b"):
        assert run_notebooks.faults(notebook_of("f()", printed(text))) == [], text


def test_a_run_keeps_what_was_written_and_replaces_what_was_shown():
    pytest.importorskip("ipykernel")
    notebook = notebook_of("import sys\nprint('a', flush=True)\nprint('b')\nprint(sys.argv is None)", printed("old\n"))
    notebook["metadata"]["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    renewed = run_notebooks.with_outputs(notebook, run_notebooks.execute(notebook))
    (cell,) = renewed["cells"]
    assert ["".join(output["text"]) for output in cell["outputs"]] == ["a\nb\nFalse\n"]
    assert cell == {**notebook["cells"][0], "outputs": cell["outputs"]}
    assert set(renewed["metadata"]) == set(notebook["metadata"])
    assert run_notebooks.faults(renewed) == []


def test_a_large_figure_keeps_its_ground_and_nearly_its_colors():
    image_module = pytest.importorskip("PIL.Image")
    ramp = np.linspace(0, 255, 400)
    pixels = np.stack([*np.meshgrid(ramp, ramp), np.random.default_rng(0).normal(128, 20, (400, 400))], axis=-1)
    pixels = pixels.clip(0, 255).astype(np.uint8)
    pixels[:9] = 255
    file = io.BytesIO()
    image_module.fromarray(pixels).save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    small = run_notebooks.smaller(png)
    assert len(small) < len(png) / 2
    after = np.asarray(image_module.open(io.BytesIO(base64.b64decode(small))).convert("RGB")).astype(int)
    assert (after[:9] == 255).all()
    assert np.abs(after - pixels).mean() < 20
