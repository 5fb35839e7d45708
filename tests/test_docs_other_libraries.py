"""What the documentation says of other libraries runs as well, where they are installed.

Each ```py block of a how-to page runs after the page's program. On the pages for those who come from another library
the ```py blocks are one program, in that library, and every piece of code in the tables runs: that in the last column
after the page's program, that in the others after the program in the other library.
"""

import ast
import functools
import importlib.util
import re
from pathlib import Path
from unittest import mock

import jax
import pytest

from tests.test_docs_programs import BLOCK, pages, program

PAGES = pages()
COMING_FROM = {name: text for name, text in PAGES.items() if "/coming-from/" in name}
BLOCKS = {
    f"{name}-{number}": (name, code)
    for name, text in PAGES.items()
    if name not in COMING_FROM
    for number, code in enumerate(code for language, code in BLOCK.findall(text) if language == "py")
}
ROW = re.compile(r"^\|(.*)\|$", flags=re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
QUIET = {  # trackers that look for a network, a login or a git repository
    "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_CONSOLE": "off",
    "TRACKIO_DIR": "trackio", "HF_HUB_OFFLINE": "1", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true", "KERAS_BACKEND": "jax",
}  # fmt: skip


def need(code):
    """Skip the test unless the packages that a program imports are installed."""
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in imports if isinstance(node, ast.ImportFrom)]
    for package in sorted({name.split(".")[0] for name in names}):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def run(code, name, namespace=None):
    namespace = {"__name__": "documentation"} if namespace is None else namespace
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, name, "exec"), namespace)
    return namespace


@functools.cache
def namespace_of(page):
    return run(program(PAGES[page]), page)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # theirs are not ours to mend
@pytest.mark.parametrize("block", BLOCKS)
def test_block_in_another_library_runs(block):
    page, code = BLOCKS[block]
    need(code)
    run(code, block, dict(namespace_of(page)))
    if page.endswith("logging.md"):
        assert [path for path in Path.cwd().rglob("*") if path.is_file()], "the tracker has written nothing"


def cells(text):
    """The cells of the tables of a page with two columns, as pairs; their heads are left out."""
    rows = [[cell.strip() for cell in row.split("|")] for row in ROW.findall(text)]
    heads = {index - 1 for index, row in enumerate(rows) if set("".join(row)) <= set("-: ")}
    return [row for index, row in enumerate(rows) if index not in heads and index - 1 not in heads]


def run_all(pieces, namespace):
    """Run every piece of code of a column, and name the one that fails."""
    for piece in pieces:
        try:
            tree = ast.parse(piece)
        except SyntaxError:
            tree = ast.parse(f"{piece}: pass" if piece.startswith("with ") else f"{piece}\n    pass")
        run(ast.unparse(tree), piece, namespace)


def pieces(page, column):
    """The code of a column, but for mere names: of settings, methods and packages."""
    found = [code for row in cells(COMING_FROM[page]) for code in CODE.findall(row[column])]
    return [code for code in found if not re.fullmatch(r"[\w.]+|\w+=\S+|\".*\"|\[.*\]|.*\.\.\..*", code)]


@pytest.mark.slow
@pytest.mark.parametrize("page", COMING_FROM)
def test_code_in_the_tables_runs(page):
    namespace = run(program(COMING_FROM[page]), page)
    found = pieces(page, -1)
    assert len(found) > 10
    run_all(found, namespace)


@pytest.mark.parametrize("page", COMING_FROM)
def test_names_in_the_tables_exist(page):
    """A name with dots, such as `losses.cross_entropy`, is one of this library, JAX or optax."""
    names = [code for row in cells(COMING_FROM[page]) for code in CODE.findall(row[-1])]
    dotted = {name for name in names if re.fullmatch(r"(\w+\.)+\w+", name)}
    imports = "combinators, combinators as c, data, losses, metrics, models, nn, report, training, weights"
    scope = run(f"import jax, jax.numpy as jnp, jaxnets, optax\nfrom jaxnets import regularizers, {imports}", "scope")
    for name in dotted:
        eval(name, scope)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", COMING_FROM)
def test_program_and_code_in_the_other_library_run(page):
    code = program(COMING_FROM[page], "py")
    need(code)
    namespace = run(code, page)
    assert 0.6 < float(namespace["accuracy"]) <= 1, "both programs learn"
    run_all(pieces(page, 0), namespace)


def test_uploading_calls_the_hub_as_it_is():
    """Without a network: the functions of the installed `huggingface_hub` take the arguments that the page gives."""
    hub = pytest.importorskip("huggingface_hub")
    blocks = [code for language, code in BLOCK.findall(PAGES["docs/how-to/upload.md"]) if language == "text"]
    api = mock.create_autospec(hub.HfApi, instance=True)
    weights = mock.Mock()
    weights.load_model.return_value = (None, None, None)
    fakes = {"HfApi": mock.Mock(return_value=api), "snapshot_download": mock.create_autospec(hub.snapshot_download)}
    with mock.patch.multiple(hub, **fakes):
        run("\n".join(blocks), "upload", {"folder": "folder", "weights": weights})
    api.upload_folder.assert_called_once()
    weights.load_model.assert_called_once_with(fakes["snapshot_download"].return_value)
