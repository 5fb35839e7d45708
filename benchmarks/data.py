"""Data that are read from disk while the network trains: `python -m benchmarks.data reading|training ROUNDS|memory`.

Each table is computed in its own process. The files lie in a temporary folder, so that most of what is read comes from
the memory in which Linux keeps files: the time is that of finding, checking and copying, not that of a slow disk.
"""

from __future__ import annotations

import functools
import io
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import optax

from benchmarks import mnist_cnn
from benchmarks.training import resident_mebibytes
from jaxnets import losses, make_model, metrics, models, nn
from jaxnets.data import Source, write_shards
from jaxnets.training import fit, init_train_state, make_step, supervised

BATCH = 128
MEBIBYTE = 2**20


def images(count: int, side: int, channels: int = 3) -> Iterator[tuple[np.ndarray, np.int32]]:
    """Noise that no compression makes smaller, with labels."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield generator.integers(0, 256, (side, side, channels), np.uint8), np.int32(generator.integers(10))


class Pictures:
    """JPEG pictures in a folder, decoded when they are asked for."""

    def __init__(self, folder: Path, count: int, side: int):
        from PIL import Image

        low = np.random.default_rng(0).integers(0, 256, (count, 14, 14, 3), np.uint8)
        self.paths = [folder / f"{number}.jpg" for number in range(count)]
        for pixels, path in zip(low, self.paths, strict=True):  # smooth, as photographs are
            Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        from PIL import Image

        with Image.open(io.BytesIO(self.paths[index].read_bytes())) as image:
            return np.asarray(image.convert("RGB"))


def reading_table(rounds: int) -> str:
    """Examples per second in a random order, in batches, by the number of threads."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            "32 x 32 x 3, shards": write_shards(f"{folder}/32", images(50_000, 32), ["image", "label"]),
            "224 x 224 x 3, shards": write_shards(f"{folder}/224", images(2_000, 224), ["image", "label"]),
            "224 x 224 x 3, JPEG files": Pictures(Path(folder), 2_000, 224),
        }
        sources = {(name, threads): Source(of, threads=threads) for name, of in sets.items() for threads in (1, 2, 4)}
        seconds: dict[tuple[str, int], list[float]] = {case: [] for case in sources}
        for turn in range(rounds + 1):
            for case, source in sources.items():
                order = np.random.default_rng(turn).permutation(len(source))[: 15 * BATCH].reshape(-1, BATCH)
                started = time.perf_counter()
                for rows in order:
                    source.take(rows)
                if turn:
                    seconds[case].append((time.perf_counter() - started) / order.size)
    lines = ["| examples | threads | n | median examples/s | min | max |", "|---|---|---|---|---|---|"]
    for (name, threads), values in seconds.items():
        numbers = [1 / statistics.median(values), 1 / max(values), 1 / min(values)]
        lines.append(" | ".join([f"| {name}", str(threads), str(len(values)), *(f"{x:,.0f}" for x in numbers)]) + " |")
    return "\n".join(lines)


def training_table(rounds: int, examples: int = 12_800) -> str:
    """The MNIST network in `fit`, with its images in memory and read from shards, in turns."""
    model, optimizer = models.mnist_cnn(), optax.adam(1e-3)

    def prepared(batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return batch[0].astype("float32") / 255, batch[1]

    supervise = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    step = make_step(
        lambda params, state, batch, **given: supervise(params, state, prepared(batch), **given), optimizer
    )

    with tempfile.TemporaryDirectory() as folder:
        shards = write_shards(f"{folder}/mnist", images(examples, 28, 1), ["image", "label"])
        arrays = tuple(np.stack(column) for column in zip(*shards.__getitems__(range(examples)), strict=True))
        sources: dict[str, Callable[[], object]] = {
            "in memory": lambda: arrays,
            "read from shards": lambda: Source(shards),
        }
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
        for turn in range(rounds + 1):
            for name in list(sources)[:: 1 if turn % 2 else -1]:
                result = fit(
                    init_train_state(model, optimizer, 0), step, sources[name](), epochs=1, batch_size=mnist_cnn.BATCH
                )
                if turn:
                    results[name].append((result.run_seconds, result.waiting_seconds))
    steps = examples // mnist_cnn.BATCH
    lines = [
        "| images | n | median ms per step | min | max | waiting |",
        "|---|---|---|---|---|---|",
    ]
    medians = {}
    for name, values in results.items():
        each = [1000 * run / steps for run, _ in values]
        medians[name] = statistics.median(each)
        waiting = statistics.median(waited / run for run, waited in values)
        numbers = f"{medians[name]:.1f} | {min(each):.1f} | {max(each):.1f} | {waiting:.1%}"
        lines.append(f"| {name} | {len(values)} | {numbers} |")
    return "\n".join([*lines, "", f"Ratio of the medians: {medians['read from shards'] / medians['in memory']:.3f}."])


MEMORY_BATCH, MEMORY_STEPS = 32, 4
"""Examples of a step and steps of a dispatch: 19 MiB are read at once, and as much is read ahead."""


def memory_table(limit: int = 320) -> str:
    """Train on a set that is ten times as large as the memory that this process may take beside what JAX has."""
    model, optimizer = make_model({"fc": nn.linear_spec(3, 10)}, _mean_color), optax.sgd(0.1)
    step = make_step(supervised(model, losses.cross_entropy), optimizer)
    bytes_each = 224 * 224 * 3
    rows: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        count = 10 * limit * MEBIBYTE // bytes_each
        shards = write_shards(folder, images(count, 224), ["image", "label"], per_shard=1000)

        begin = functools.partial(init_train_state, model, optimizer, 0)
        fit(
            begin(), step, _stacked(shards, range(MEMORY_BATCH)), epochs=1, batch_size=MEMORY_BATCH
        )  # imports and starts what it needs
        begun = _data_mebibytes()
        allowed = int(begun + limit) * MEBIBYTE
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
        every = count // MEMORY_BATCH // 8

        def note(event):
            if event.kind == "steps" and event.step % every < MEMORY_STEPS:
                rows.append((event.step, resident_mebibytes()))

        settings = {"batch_size": MEMORY_BATCH, "steps_per_call": MEMORY_STEPS}
        fit(begin(), step, Source(shards), epochs=1, callbacks=[note], **settings)
    lines = [
        f"{count:,} examples, {count * bytes_each / MEBIBYTE:,.0f} MiB; the process had {begun:,.0f} MiB of data and "
        f"could take {limit} MiB more (RLIMIT_DATA).",
        "",
        "| step | resident MiB |",
        "|---|---|",
        *(f"| {step} | {size:,.0f} |" for step, size in rows),
    ]
    return "\n".join(lines)


def _stacked(shards, rows):
    return tuple(np.stack(column) for column in zip(*shards.__getitems__(list(rows)), strict=True))


def _data_mebibytes() -> float:
    """Memory that RLIMIT_DATA counts (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) / 1024


def _mean_color(params, state, x, *, key=None, train):
    return nn.linear(params["fc"], x.astype("float32").mean((1, 2)) / 255), state


if __name__ == "__main__":
    TABLES = {"reading": reading_table, "training": training_table, "memory": memory_table}
    print(TABLES[sys.argv[1]](*map(int, sys.argv[2:])))
