"""The notebook for Colab runs from its first cell to its last, in a kernel of its own."""

import base64
from pathlib import Path

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebooks" / "mnist_cnn.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXNETS_NOTEBOOK_SMOKE", "1")
        patch.setenv("JAX_NUM_CPU_DEVICES", "8")
        patch.delenv("MPLBACKEND", raising=False)  # the notebook shows its plots in place
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        folder = tmp_path_factory.mktemp("notebook")
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
        yield notebook


def printed(notebook):
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_it_trains_on_all_devices_and_measures(executed):
    text = printed(executed)
    assert text.count("CpuDevice") == 8
    assert "1,199,882" in text  # the parameters of the textbook network, as its PyTorch script counts them
    accuracy = float(text.split("test accuracy ")[1].split()[0])
    assert 0 <= accuracy < 0.5  # noise cannot be learned


def test_it_shows_its_plots(executed):
    images = [
        base64.b64decode(output.data["image/png"])
        for cell in executed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(images) == 4
    assert all(image.startswith(b"\x89PNG") for image in images)


def test_it_is_stored_without_results():
    """A result that nobody ran again would be a claim."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
