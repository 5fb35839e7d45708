"""The cost of `fit` besides its steps: the memory of a long run, and the time of checkpoints.

Each table is computed in its own process: `python -m benchmarks.training checkpoints ROUNDS`, `memory EPOCHS`, or
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
from jaxnets import losses, make_model, metrics, models, nn
from jaxnets.training import Checkpoints, fit, init_train_state, make_evaluate, make_step, supervised


def resident_mebibytes() -> float:
    """The resident memory of this process now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def memory_table(epochs: int = 4000, *, checkpoints: bool = False) -> str:
    """Train the tiny MLP for many epochs, with evaluation, and record the resident memory eight times."""
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


EPOCH_STEPS = 938
"""The steps of 60,000 images in batches of 64."""


def checkpoint_table(rounds: int, steps: int = 60) -> str:
    """Short epochs of the MNIST network with and without checkpoints, in turns, compared with a whole epoch.

    Both checkpoints, the best and the last, are written at the end of each epoch. The cost is smaller than the
    difference between two whole epochs, so it is measured with short ones.
    """
    generator = np.random.default_rng(0)
    images = generator.uniform(size=(steps * mnist_cnn.BATCH, 28, 28, 1)).astype(np.float32)
    labels = generator.integers(0, 10, len(images)).astype(np.int32)
    model, optimizer = models.mnist_cnn(), optax.adam(1e-3)
    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})

    def train(checkpoints: bool) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            started, used = time.perf_counter(), time.process_time()
            result = fit(
                init_train_state(model, optimizer, 0),
                make_step(loss, optimizer),
                (images, labels),
                epochs=1,
                batch_size=mnist_cnn.BATCH,
                evaluate=make_evaluate(loss),
                validation=(images[:64], labels[:64]),
                checkpoints=Checkpoints(folder) if checkpoints else None,
            )
            return time.perf_counter() - started - result.compile_seconds, time.process_time() - used

    values: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for turn in range(rounds + 1):
        for checkpoints in (False, True) if turn % 2 else (True, False):
            measured = train(checkpoints)
            if turn > 0:  # the first round compiles and imports
                values[checkpoints].append(measured)
    lines = [
        f"| {steps} steps | n | median s | min | max | median CPU s |",
        "|---|---|---|---|---|---|",
    ]
    medians = {}
    for checkpoints, name in ((False, "without checkpoints"), (True, "with the best and the last at the end")):
        walls, cpus = zip(*values[checkpoints], strict=True)
        medians[checkpoints] = statistics.median(walls), statistics.median(cpus)
        numbers = f"{medians[checkpoints][0]:.3f} | {min(walls):.3f} | {max(walls):.3f} | {medians[checkpoints][1]:.3f}"
        lines.append(f"| {name} | {len(walls)} | {numbers} |")
    wall, cpu = (after - before for after, before in zip(medians[True], medians[False], strict=True))
    epoch = medians[False][0] / steps * EPOCH_STEPS
    cost = f"{wall:.3f} s of wall time and {cpu:.3f} s of CPU time"
    share = f"{wall / epoch:.2%} of the wall time of an epoch of {EPOCH_STEPS} steps ({epoch:.1f} s)"
    return "\n".join([*lines, "", f"The difference of the medians is {cost}: {share}."])


if __name__ == "__main__":
    TABLES = {
        "checkpoints": checkpoint_table,
        "memory": memory_table,
        "memory_with_checkpoints": lambda epochs: memory_table(epochs, checkpoints=True),
    }
    print(TABLES[sys.argv[1]](int(sys.argv[2])))
