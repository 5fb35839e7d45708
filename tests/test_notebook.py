"""The notebooks run from their first cell to their last: here, and one of them with the library inside elsewhere."""

import base64
import functools
import io
import json
import math
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import jax
import nbclient
import nbformat
import numpy as np
import pytest

from tests import quick_flags

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "docs" / "notebooks"
NOTEBOOK = FOLDER / "mnist_cnn.ipynb"
NAMES = ["digits_gan", "mnist_cnn", "names_rnn", "shakespeare_gpt", "spiral_mlp"]


class Reader(nbclient.NotebookClient):
    """Runs a notebook as a reader does, and keeps what the output of each cell looked like over time."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.seen.setdefault(cell_index, []).append(msg["content"]["data"])
        return super().process_message(msg, cell, cell_index)


class Ran:
    """A notebook after it ran: its cells with their outputs, and how these came about."""

    def __init__(self, notebook, seen):
        self.cells, self.seen = notebook.cells, seen
        self.outputs = [output for cell in self.cells if cell.cell_type == "code" for output in cell.outputs]
        self.text = "".join(output.text for output in self.outputs if output.output_type == "stream")
        found = [output.data["image/png"] for output in self.outputs if "image/png" in output.get("data", {})]
        self.images = [base64.b64decode(image) for image in found]

    def number(self, before):
        """The number that is printed after some words."""
        return float(re.search(re.escape(before) + r"\s*(-?[\d.,e+-]*\d)", self.text)[1].replace(",", ""))

    def progress(self):
        """The lines of the last picture of each progress bar, all of which began with the compilation."""
        lines = []
        for pictures in self.seen.values():
            bars = [data for data in pictures if "progressbar" in data.get("text/html", "")]
            if not bars:
                continue
            assert bars[0]["text/plain"] == "compiling  0:00"
            ends = [data for data in pictures if " steps  in " in data["text/plain"]]
            assert not any("progressbar" in data["text/html"] for data in ends)
            assert not any("\x1b" in data["text/html"] for data in pictures if "text/html" in data)
            lines += [data["text/plain"].splitlines() for data in ends]
        return lines


def run(path, folder, kernel_name="python3", devices=1):
    """Run a notebook in a folder; its kernel has no JAXNETS_DATA."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = Reader(notebook, timeout=300, kernel_name=kernel_name, resources=resources)
    client.seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXNETS_NOTEBOOK_SMOKE", "1")
        patch.setenv("PYTHONPATH", str(REPOSITORY))  # but for a kernel that has its own
        patch.setenv("JAX_NUM_CPU_DEVICES", str(devices))
        patch.setenv("XLA_FLAGS", flags())
        patch.delenv("JAXNETS_DATA", raising=False)
        patch.delenv("MPLBACKEND", raising=False)  # the notebook shows its plots in place
        client.execute()
    return Ran(notebook, client.seen)


flags = functools.cache(quick_flags.known_flags)


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory):
    """A kernel of a new environment that has the versions of this one, but not jaxnets; returns its name and Python."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    kernel = folder / "kernels" / "empty"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # Of what is on PYTHONPATH no .pth file is read, so that a checkout that is installed there is not importable.
    environment = {"PYTHONPATH": sysconfig.get_path("purelib"), "JAX_PLATFORMS": "cpu"}
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "empty", "env": environment}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield "empty", python


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The folder with the copies for Colab."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, REPOSITORY / "docs" / "colab.py", folder], check=True)
    return folder


def test_these_are_the_notebooks():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


def test_the_copy_for_colab_trains_in_an_empty_environment(copies, empty_environment, tmp_path):
    kernel, python = empty_environment
    ran = run(copies / "mnist_cnn.ipynb", tmp_path, kernel, devices=8)
    assert ran.text.count("CpuDevice") == 8
    assert parameters(ran) == [1_199_882]  # of the textbook network, as its PyTorch script counts them
    assert 0 <= ran.number("test accuracy") < 0.5  # noise cannot be learned
    assert len(ran.images) == 5
    ((first, last),) = ran.progress()
    assert first.startswith("epoch 1/1  train: accuracy 0.")
    assert "validation: accuracy 0." in first
    assert last.startswith("4 steps  in ")
    check_the_versions_are_left_alone(python, tmp_path)


def check_the_versions_are_left_alone(python, folder):
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    code = "import jax, jaxnets; print(jax.__version__, jax.__file__, jaxnets.__file__, sep='\\n')"
    shown = subprocess.run(
        [python, "-c", code], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    version, jax_file, jaxnets_file = shown.stdout.split("\n")[:3]
    assert (version, jax_file) == (jax.__version__, jax.__file__)
    assert Path(jaxnets_file).is_relative_to(python.parent.parent)
    installed = {path.name.split("-")[0] for path in python.parent.parent.glob("lib/*/site-packages/*.dist-info")}
    assert installed <= {"pip", "setuptools", "jaxnets"}


def test_every_copy_contains_the_library_and_is_otherwise_the_same(copies):
    wheels = set()
    for path in FOLDER.glob("*.ipynb"):
        cells, copied = (nbformat.read(folder / path.name, as_version=4).cells for folder in (FOLDER, copies))
        sources = [(before.source, after.source) for before, after in zip(cells, copied, strict=True)]
        ((_, install),) = [(before, after) for before, after in sources if before != after]
        wheels.add(base64.b64decode(install.split('"""')[1]))
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in copied)
    (wheel,) = wheels
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        own = (REPOSITORY / "jaxnets" / "training" / "loop.py").read_bytes()
        assert archive.read("jaxnets/training/loop.py") == own


def test_spiral_mlp(tmp_path):
    ran = run(FOLDER / "spiral_mlp.ipynb", tmp_path)
    assert parameters(ran) == [2 + 1, (2 * 16 + 16) + (16 * 16 + 16) + (16 + 1)]
    assert ran.number("jax.grad") == pytest.approx(ran.number("measured"), rel=0.02)
    assert ran.number("accuracy of one neuron on new points:") < 0.7  # no line separates the arms
    assert len(ran.images) == 4
    # 250 points in batches of 25
    assert [lines[-1].split("  ")[0] for lines in ran.progress()] == ["50 steps", "60 steps"]


def test_names_rnn(tmp_path):
    ran = run(FOLDER / "names_rnn.ipynb", tmp_path)
    assert "14 characters: '\\naehijlmopsvwx'" in ran.text
    assert ran.number("largest difference") < 1e-5
    hidden, characters = 16, 14
    around = characters * hidden + hidden * characters + characters
    matrices = 2 * hidden**2 + hidden
    assert [ran.number(f"{cell}:") for cell in ("rnn", "gru", "lstm")] == [
        around + matrices,
        around + 3 * matrices + hidden,
        around + 4 * matrices,
    ]
    assert len(re.findall(r"temperature .* of 12 are not in the list", ran.text)) == 3
    assert len(ran.images) == 3
    assert [lines[-1].split("  ")[0] for lines in ran.progress()] == ["1 steps"] * 3


def test_shakespeare_gpt(tmp_path):
    ran = run(FOLDER / "shakespeare_gpt.ipynb", tmp_path)
    characters, context, layers, features = 23, 16, 2, 32
    block = 12 * features**2 + 2 * features
    assert parameters(ran) == [layers * block + (characters + context + 1) * features]
    assert ran.number("loss before training") == pytest.approx(math.log(characters), abs=0.1)
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", ran.text)]
    assert len(differences) == 2  # attention by hand, and the cache
    assert max(differences) < 1e-4
    assert len(ran.images) == 3
    ((_, last),) = ran.progress()
    assert last.startswith("7 steps  in ")
    written = ran.text.split("--- temperature 0.5\n")[1].split("\n\n--- temperature")[0]
    assert len(written) == 40


def test_digits_gan(tmp_path):
    ran = run(FOLDER / "digits_gan.ipynb", tmp_path)
    # a linear layer and batch norm, a transposed convolution and batch norm, and one to a single channel
    assert parameters(ran) == [(64 * 7 * 7 * 32) + 2 * 32 + (4 * 4 * 32 * 16) + 2 * 16 + (4 * 4 * 16 + 1)]
    assert ran.number("of a guess") == pytest.approx(np.log(4), abs=1e-3)
    assert len(ran.images) == 4
    points, digits = ran.progress()
    assert [points[-1].split("  ")[0], digits[-1].split("  ")[0]] == ["2 steps", "4 steps"]
    assert all(f"{name} 0." in digits[0] for name in ("d/real", "d/fake"))


def parameters(ran):
    """The parameters of all models whose summary is shown."""
    pages = [output.data.get("text/html", "") for output in ran.outputs if output.output_type == "execute_result"]
    totals = [re.search(r">total</th>(.*?)</tr>", page)[1] for page in pages if ">total</th>" in page]
    return [int(re.findall(r">([^<>]*)</th>", row)[2].replace(",", "")) for row in totals]
