"""Folders of runs with known numbers."""

import json
from pathlib import Path

import numpy as np

NASTY = "<img src=x onerror=\"alert(1)\"> & 'x' </script>"


def make_run(
    folder, seed=0, *, learning_rate=0.1, epochs=4, finished=True, name="adam", experiment="made_up", **result_entries
):
    """Write the files of a run; its numbers follow from the seed and the learning rate."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    config = {"seed": seed, "out": str(folder), "learning_rate": learning_rate, "optimizer": name, "epochs": epochs}
    (folder / "config.json").write_text(json.dumps(config))
    generator = np.random.default_rng([seed, round(1000 * learning_rate)])
    rows = []
    for epoch in range(1, epochs + 1):
        for split in ("train", "validation"):
            numbers = {"loss": float(generator.uniform(0.01, 2)), "accuracy": float(generator.uniform(0.5, 1))}
            rows.append({"step": 25 * epoch, "epoch": float(epoch), "split": split, **numbers})
    test = {"loss": float(generator.uniform(0.01, 2)), "accuracy": float(generator.uniform(0.5, 1))}
    rows.append({"step": 25 * epochs, "epoch": float(epochs), "split": "test", **test})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if finished:
        result = {
            "experiment": experiment,
            "date": "2026-11-27T21:00:00+00:00",
            "seed": seed,
            "metrics": {"train": {"loss": rows[-3]["loss"], "accuracy": rows[-3]["accuracy"]}, "test": test},
            "fingerprint": f"{seed:064x}",
            "seconds": {"compile": 2.5, "run": 10.0, "training": 6.0, "evaluation": 1.5, "drawing": 1.25},
            "first_step": 0,
            "command": f"python -m experiments.{experiment} --seed {seed}",
            "commit": "0123456789abcdef-dirty",
            "versions": {"python": "3.11.7", "jax": "0.10.2", "numpy": "2.4.0"},
            "device": {"platform": "cpu", "kind": "cpu", "count": 1, "processor": "AMD EPYC", "cores": 2},
        }
        (folder / "result.json").write_text(json.dumps(result | result_entries))
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]


def result_of(folder):
    return json.loads((Path(folder) / "result.json").read_text())
