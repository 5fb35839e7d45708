"""The notebook for Colab runs from its first cell to its last: here, and with the library inside elsewhere."""

import base64
import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import jax
import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parent.parent
NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "mnist_cnn.ipynb"


def run(path, folder, kernel_name="python3"):
    """The notebook after it ran in a folder; its kernel has eight devices and no JAXNETS_DATA."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXNETS_NOTEBOOK_SMOKE", "1")
        patch.setenv("JAX_NUM_CPU_DEVICES", "8")
        patch.delenv("MPLBACKEND", raising=False)  # the notebook shows its plots in place
        nbclient.NotebookClient(notebook, timeout=300, kernel_name=kernel_name, resources=resources).execute()
    return notebook


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
def elsewhere(empty_environment, tmp_path_factory):
    """The copy for Colab after it ran in the new environment."""
    folder = tmp_path_factory.mktemp("colab")
    written = folder / "jaxnets_colab.ipynb"
    subprocess.run([sys.executable, REPOSITORY / "docs" / "colab.py", written], check=True)
    return run(written, folder, empty_environment[0])


@pytest.fixture(scope="module", params=["checkout", "colab"])
def executed(request, tmp_path_factory):
    if request.param == "checkout":
        return run(NOTEBOOK, tmp_path_factory.mktemp("notebook"))
    return request.getfixturevalue("elsewhere")


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook):
    return "".join(output.text for output in outputs_of(notebook) if output.output_type == "stream")


def test_it_trains_on_all_devices_and_measures(executed):
    text = printed(executed)
    assert text.count("CpuDevice") == 8
    assert "1,199,882" in text  # the parameters of the textbook network, as its PyTorch script counts them
    accuracy = float(text.split("test accuracy ")[1].split()[0])
    assert 0 <= accuracy < 0.5  # noise cannot be learned


def test_it_shows_its_plots(executed):
    images = [output.data["image/png"] for output in outputs_of(executed) if "image/png" in output.get("data", {})]
    assert len(images) == 4
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for image in images)


def test_the_progress_is_one_output_that_ends_in_a_summary(executed):
    (cell,) = [cell for cell in executed.cells if "training.fit(" in cell.source]
    (shown,) = [output.data for output in cell.outputs if output.output_type == "display_data"]
    first, last = shown["text/plain"].splitlines()
    assert first.startswith("epoch 1/1  train: accuracy 0.")
    assert last.startswith("4 steps  in ")
    assert "validation: accuracy 0." in first
    assert "\x1b" not in shown["text/html"]
    assert "<progress" not in shown["text/html"]  # it is there while the cell runs


@pytest.mark.usefixtures("elsewhere")
def test_the_copy_for_colab_leaves_the_versions_of_the_runtime_alone(empty_environment, tmp_path):
    _, python = empty_environment
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    code = "import jax, jaxnets; print(jax.__version__, jax.__file__, jaxnets.__file__, sep='\\n')"
    shown = subprocess.run(
        [python, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    version, jax_file, jaxnets_file = shown.stdout.split("\n")[:3]
    assert (version, jax_file) == (jax.__version__, jax.__file__)
    assert Path(jaxnets_file).is_relative_to(python.parent.parent)
    installed = {path.name.split("-")[0] for path in python.parent.parent.glob("lib/*/site-packages/*.dist-info")}
    assert installed <= {"pip", "setuptools", "jaxnets"}


def test_it_is_stored_without_results():
    """A result that nobody ran again would be a claim."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
