"""What `fit` costs beside its steps: the memory of a long run, and the time of checkpoints.

Each table is made in a process of its own: `python -m benchmarks.training checkpoints ROUNDS`, `memory EPOCHS`, or
`memory_with_checkpoints EPOCHS`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import optax

from benchmarks import mnist_cnn, tiny_mlp
from jaxnets import losses, make_model, metrics, nn
from jaxnets import models as zoo
from jaxnets.train import Checkpoints, fit, init_train_state, make_evaluate, make_step, supervised


def resident_mebibytes() -> float:
    """The resident memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory_table(epochs: int = 4000, *, checkpoints: bool = False) -> str:
    """Train the tiny MLP for many epochs, with evaluation, and note the resident memory eight times."""
    x, y = tiny_mlp.data()
    model = make_model({"fc1": nn.linear_spec(8, 12), "fc2": nn.linear_spec(12, 1)}, _two_layers)
    loss, optimizer = supervised(model, losses.binary_cross_entropy), optax.adam(1e-3)
    rows: list[tuple[int, float]] = []

    def note(event):
        if event.kind == "epoch" and round(event.epoch) % (epochs // 8) == 0:
            rows.append((round(event.epoch), resident_mebibytes()))

    with tempfile.TemporaryDirectory() as folder:
        fit(
            init_train_state(model, optimizer, 0),
            make_step(loss, optimizer),
            (x, y),
            epochs=epochs,
            batch_size=10,
            evaluate=make_evaluate(loss),
            validation=(x[:50], y[:50]),
            callbacks=[note],
            checkpoints=Checkpoints(folder, best=None) if checkpoints else None,
        )
    lines = ["| epoch | resident MiB |", "|---|---|", *(f"| {epoch:,} | {size:,.1f} |" for epoch, size in rows)]
    return "\n".join(lines)


def _two_layers(params, state, x, *, key=None, train):
    return nn.linear(params["fc2"], nn.relu(nn.linear(params["fc1"], x)))[:, 0], state


def checkpoint_table(rounds: int, steps: int = 938) -> str:
    """An epoch of the MNIST network with and without checkpoints, in turns."""
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(steps * mnist_cnn.BATCH, 28, 28, 1)).astype(np.float32)
    labels = generator.integers(0, 10, len(images)).astype(np.int32)
    model, optimizer = zoo.mnist_cnn(), optax.adam(1e-3)
    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    seconds: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
    for turn in range(rounds + 1):
        for name, values in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                started, used = time.perf_counter(), time.process_time()
                result = fit(
                    init_train_state(model, optimizer, 0),
                    make_step(loss, optimizer),
                    (images, labels),
                    epochs=1,
                    batch_size=mnist_cnn.BATCH,
                    evaluate=make_evaluate(loss),
                    validation=(images[:3000], labels[:3000]),
                    checkpoints=Checkpoints(folder) if name == "with" else None,
                )
                wall = time.perf_counter() - started - result.compile_seconds
                if turn > 0:  # the first round compiles
                    values.append((wall, time.process_time() - used))
    lines = [
        "| checkpoints (best and last) | n | median s an epoch | min | max | median CPU s |",
        "|---|---|---|---|---|---|",
    ]
    medians = {}
    for name, values in seconds.items():
        walls, cpus = zip(*values, strict=True)
        medians[name] = statistics.median(walls), statistics.median(cpus)
        numbers = f"{medians[name][0]:.2f} | {min(walls):.2f} | {max(walls):.2f} | {medians[name][1]:.2f}"
        lines.append(f"| {name} | {len(values)} | {numbers} |")
    wall, cpu = (after / before for after, before in zip(medians["with"], medians["without"], strict=True))
    return "\n".join([*lines, "", f"Ratio of the medians: {wall:.4f} in wall time, {cpu:.4f} in CPU time."])


if __name__ == "__main__":
    TABLES = {
        "checkpoints": checkpoint_table,
        "memory": memory_table,
        "memory_with_checkpoints": lambda epochs: memory_table(epochs, checkpoints=True),
    }
    print(TABLES[sys.argv[1]](int(sys.argv[2])))
