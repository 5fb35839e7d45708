"""Every experiment runs, is listed, can be repeated and resumed; what is computed by hand comes out."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from matplotlib.figure import Figure

from experiments.__main__ import experiments
from jaxnets.experiment import read_options, with_presets
from jaxnets.report import read_metrics
from jaxnets.training import keep_compiled_programs

ROOT = Path(__file__).parents[2]
NAMES = sorted(experiments())
QUICK = ("adaline_iris", "backprop_by_hand", "neuron_logic")
"""Whose smoke runs belong to the quick tests; all others are slow."""
WITHOUT_FOLDER = ("plain_loop",)
"""Which prints all that it finds."""
WITH_FOLDER = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
    for name in NAMES
    if name not in WITHOUT_FOLDER
]
PICTURES = {"backprop_by_hand": "config.json", "neuron_logic": "half_planes.png"}
"""Of experiments without curves; a table of numbers needs none."""


def smoke(name, folder, **settings):
    module = importlib.import_module(f"experiments.{name}")
    return module.run(module.Config(smoke=True, out=folder, **settings))


@pytest.mark.parametrize("name", NAMES)
def test_the_header_says_what_to_expect_and_how_to_get_it(name):
    document = ast.get_docstring(ast.parse((ROOT / "experiments" / f"{name}.py").read_text()))
    for part in ("expected:", "time:", "compile:", "hardware:", f"command:   python -m experiments.{name}"):
        assert part in document


@pytest.mark.parametrize("name", NAMES)
def test_its_command_takes_seed_out_and_smoke_and_shows_its_header(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    module = importlib.import_module(f"experiments.{name}")
    command = f"python -m experiments.{name}"
    if hasattr(module, "Config"):
        config = read_options(module.Config, words=["--seed", "3", "--out", "runs/a", "--smoke"], command=command)
        assert (config.seed, config.out, config.smoke) == (3, Path("runs/a"), True)
    with pytest.raises(SystemExit, match="0"):
        read_options(getattr(module, "Config", module.main), module.__doc__, ["--help"], command)
    said = capsys.readouterr().out
    assert said.startswith(module.__doc__)
    usage, *options = said.removeprefix(module.__doc__).strip().splitlines()
    assert usage.startswith(f"usage: {command} ")
    assert all(f" --{option}" in "\n".join(options) for option in ("seed", "out", "smoke"))


@pytest.fixture
def compiled_once(tmp_path_factory):
    """What a test compiles a second time it reads from a folder."""
    keep_compiled_programs(tmp_path_factory.mktemp("compiled"))
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()


@pytest.fixture
def between(monkeypatch):
    """The ticks between epochs, or between steps, of figures that are saved."""
    found, savefig = [], Figure.savefig

    def look(figure, *arguments, **options):
        savefig(figure, *arguments, **options)
        for axes in figure.axes:
            if axes.get_xlabel() in ("epoch", "round", "step"):
                low, high = axes.get_xlim()
                found.extend((arguments, float(tick)) for tick in axes.get_xticks() if low <= tick <= high and tick % 1)

    monkeypatch.setattr(Figure, "savefig", look)
    return found


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("name", WITH_FOLDER)
def test_smoke_leaves_a_complete_run_folder_which_can_be_repeated(name, tmp_path, capsys, between):
    first, again = (smoke(name, tmp_path / folder) for folder in ("a", "b"))
    assert first["fingerprint"] == again["fingerprint"]
    assert not between
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files >= {"config.json", "metrics.jsonl", "result.json", "report.html", PICTURES.get(name, "curves.png")}
    rows = read_metrics(tmp_path / "a" / "metrics.jsonl")
    assert rows == read_metrics(tmp_path / "b" / "metrics.jsonl")
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert len(numbers) > 0
    assert np.isfinite(numbers).all()
    assert "this run has ended" not in capsys.readouterr().out

    written = (tmp_path / "a" / "result.json").stat().st_mtime_ns
    assert smoke(name, tmp_path / "a") == first
    assert "this run has ended" in capsys.readouterr().out
    assert (tmp_path / "a" / "result.json").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="made with other settings: seed"):
        smoke(name, tmp_path / "a", seed=7)


@pytest.mark.parametrize("name", ["arithmetic_reasoning", "shakespeare_gpt"])
def test_published_settings_are_settings_of_the_experiment(name):
    """Nobody runs them here, so a misspelled name would only show on an accelerator."""
    module = importlib.import_module(f"experiments.{name}")
    published = with_presets(module.Config(size="reference"), {"reference": module.REFERENCE})
    assert (published.layers, published.heads, published.features) == (6, 6, 384)  # nanoGPT's


@pytest.mark.slow
def test_the_seed_decides(tmp_path):
    fingerprints = {smoke("shakespeare_rnn", tmp_path / str(seed), seed=seed)["fingerprint"] for seed in range(3)}
    assert len(fingerprints) == 3


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_the_other_cells_run(cell, tmp_path):
    result = smoke("shakespeare_rnn", tmp_path, cell=cell)
    assert result["metrics"]["validation"]["loss"] < np.log(65)
    assert len((tmp_path / "sample.txt").read_text()) == 501


@pytest.mark.slow
@pytest.mark.parametrize("model", ["dlinear", "patch_tst", "lstm", "repeat"])
def test_the_other_forecasters_run(model, tmp_path):
    result = smoke("forecast_ett", tmp_path, model=model)
    assert (tmp_path / "forecasts.png").exists()
    for measured in (result["metrics"]["4"], result["metrics"]["8"]):
        assert (measured["mse"] == measured["mse_last_value"]) == (model == "repeat")


def imported(file):
    """The modules that a file imports, or imports from."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_no_experiment_is_imported_by_another_or_by_what_they_share():
    files = [*(ROOT / "experiments").rglob("*.py")]
    assert len(files) > len(NAMES)
    for file in files:
        experiments_in_it = [name for name in imported(file) if name.split(".")[:1] == ["experiments"]]
        assert all(name.startswith("experiments.support.") for name in experiments_in_it), file


def test_the_list_has_a_line_for_each():
    command = [sys.executable, "-m", "experiments"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == NAMES


def test_a_name_apart_from_the_module_is_pointed_out():
    command = [sys.executable, "-m", "experiments", "digits_cnn", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "write it as one word: python -m experiments.digits_cnn --smoke" in done.stderr


def test_the_worked_example(capsys, tmp_path):
    module = importlib.import_module("experiments.backprop_by_hand")
    before, after = module.run(module.Config(out=tmp_path))["metrics"].values()
    assert [round(before[name], 3) for name in ("prediction", "error", "delta")] == [0.191, 0.327, -0.809]
    assert np.round(after["weights"], 2).tolist() == [0.12, 0.23, 0.13, 0.10, 0.17, 0.17]
    assert round(after["prediction"], 2) == 0.26
    np.testing.assert_allclose(after["gradient"], after["gradient_by_jax"], rtol=1e-6)
    assert "next prediction 0.26" in capsys.readouterr().out


def test_pima_is_what_pytorch_trains(tmp_path):
    """The textbook PyTorch loop from the same initial values, on numbers that need no file."""
    import torch

    module = importlib.import_module("experiments.pima_mlp")
    config = module.Config(epochs=3, learning_rate=1e-3)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(48, 8)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.int64)
    params = module.initialize(config, 0).params
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1),
        torch.nn.Sigmoid(),
    )  # fmt: skip
    for name, layer in (("fc1", net[0]), ("fc2", net[2]), ("fc3", net[4])):
        layer.weight.data = torch.tensor(np.array(params[name]["kernel"]).T.copy())
        layer.bias.data = torch.tensor(np.array(params[name]["bias"]))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(3):
        for first in range(0, 48, 10):
            inputs, targets = torch.tensor(x[first : first + 10]), torch.tensor(labels[first : first + 10]).float()
            value = torch.nn.functional.binary_cross_entropy(net(inputs)[:, 0], targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    trained, rows, _ = module.textbook_program(config, x, labels)
    assert len(rows) == 3
    for name, layer in (("fc1", net[0]), ("fc2", net[2]), ("fc3", net[4])):
        np.testing.assert_allclose(
            trained.params[name]["kernel"], layer.weight.detach().numpy().T, rtol=1e-3, atol=1e-5
        )


@pytest.mark.slow
def test_the_cross_validation_measures_each_network_on_its_own_fold():
    """One network of the vmapped call, trained and measured alone."""
    from sklearn.model_selection import StratifiedKFold
    from sklearn.preprocessing import StandardScaler

    module = importlib.import_module("experiments.pima_mlp")
    config = module.Config(epochs=5, folds=3, seeds=4, seed=2)
    generator = np.random.default_rng(1)
    x = generator.normal(loc=5, scale=3, size=(62, 8)).astype(np.float32)
    labels = (x[:, 1] + generator.normal(size=62) > 5).astype(np.int64)
    together = module.cross_validate(config, x, labels)
    assert together.shape == (3, 4)
    for fold, (train, test) in enumerate(StratifiedKFold(3, shuffle=True, random_state=2).split(x, labels)):
        scaler = StandardScaler().fit(x[train])
        data = module.filled(scaler.transform(x[train]), labels[train], 50)
        trained, _ = jax.jit(module.trainer(config, 50, shuffle=True))(module.initialize(config, 3), data)
        logits, _ = module.MODEL.apply(trained.params, {}, scaler.transform(x[test]).astype(np.float32), train=False)
        expected = np.mean((np.asarray(logits) > 0) == labels[test])
        assert together[fold, 1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_config_is_what_was_given(tmp_path):
    smoke("mnist_cnn", tmp_path, seed=4, batch_size=8)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["seed"], config["batch_size"], config["smoke"]) == (4, 8, True)
