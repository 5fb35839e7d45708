"""The program of the tests of several processes: `python -m tests.processes.program WHAT FOLDER`, once a process."""

import dataclasses
import functools
import os
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxnets import losses, metrics, models
from jaxnets.data import Source
from jaxnets.processes import OtherProcessError, all_or_none, from_first, is_first, to_host, wait_together
from jaxnets.report import RunFolder, progress, record_metrics
from jaxnets.sharding import FSDP, make_mesh, place
from jaxnets.start_processes import start_processes
from jaxnets.training import (
    Checkpoints,
    checkpoint_store,
    data_parallel,
    device_mesh,
    fit,
    init_train_state,
    load_last,
    make_evaluate,
    make_step,
    replicate,
    supervised,
)
from jaxnets.tree import paths
from tests.oracles import permissive_optimizer
from tests.training import problem

BATCH = 8
SLEEP_SECONDS = 1_000  # longer than a test may take
MOST_BYTES = 200_000  # fewer than the network has, and more than a process prints
CNN = models.mnist_cnn(models.MnistCNNConfig(height=12, width=12))
GPT = models.gpt(models.GPTConfig(vocabulary=16, context=8, layers=2, heads=2, features=16))

ADAM = permissive_optimizer(optax.adam(1e-3))


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of a run."""

    seed: int = 0


def images(size=32):
    generator = np.random.default_rng(0)
    return generator.random((size, 12, 12, 1), np.float32), generator.integers(0, 10, size).astype(np.int32)


def texts(size=32):
    ids = np.random.default_rng(1).integers(0, 16, (size, 9)).astype(np.int32)
    return ids[:, :-1], ids[:, 1:]


class Examples:
    """The examples of arrays, by number, and which were asked for."""

    def __init__(self, arrays):
        self.arrays, self.asked = arrays, set()

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, index):
        self.asked.add(index)
        return jax.tree.map(lambda array: array[index], self.arrays)


def train(model, data, optimizer, placement=None, place_step=None, callbacks=(), checkpoints=None, **settings):
    """Train with or without devices of others, and evaluate on a part that cannot be divided."""
    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    step = make_step(loss, optimizer, placement=placement)
    return fit(
        init_train_state(model, optimizer, seed=3, placement=placement),
        step if place_step is None else place_step(step),
        data,
        **{"epochs": 2, "batch_size": BATCH, "steps_per_call": 2, **settings},
        evaluate=make_evaluate(loss, batch_size=8),
        validation=jax.tree.map(lambda array: array[:13], data.dataset.arrays if isinstance(data, Source) else data),
        callbacks=callbacks,
        checkpoints=checkpoints,
    )


def train_all(folder):
    """A convolutional network with data-parallel steps, and a Transformer whose parameters are divided."""
    mesh = device_mesh()
    placement = place(GPT, make_mesh({"data": jax.device_count()}), FSDP)
    run_folder = RunFolder.open("several", Config(), path=folder / "run")
    cnn = train(
        CNN,
        images(),
        ADAM,
        place_step=lambda step: data_parallel(step, mesh),
        callbacks=[progress(), record_metrics(run_folder)],
        checkpoints=Checkpoints(run_folder.checkpoints),
    )
    examples = Examples(images(48))
    read = train(CNN, Source(examples), ADAM, place_step=lambda step: data_parallel(step, mesh), epochs=1)
    given = train(CNN, images(48), ADAM, place_step=lambda step: data_parallel(step, mesh), epochs=1)
    assert same_arrays(read.train_state, given.train_state)
    own = 48 // jax.process_count()  # beside the first example and the 16 of the checksum
    assert own <= len(examples.asked) <= own + 17, (own, len(examples.asked))
    gpt = train(GPT, texts(), ADAM, placement)
    result = run_folder.write_result(gpt.metrics, gpt.train_state.params, compile_seconds=0, run_seconds=0)
    print(run_folder.path, result["fingerprint"], flush=True)
    everywhere = NamedSharding(mesh, PartitionSpec())
    whole = jax.jit(lambda tree: tree, out_shardings=everywhere)((cnn.train_state.params, gpt.train_state.params))
    if is_first():
        np.savez(folder / "end.npz", **{path: np.asarray(leaf) for path, leaf in paths(whole).items()})


def refuse_all(folder):
    """What would let processes wait for one another for ever, or go on with different things."""
    mine = jax.process_index()
    mesh = device_mesh()
    optimizer, data = problem.OPTIMIZER, jax.device_get(problem.data(16))

    def run(data=data, place_step=lambda step: data_parallel(step, mesh), **settings):
        return train(problem.MODEL, data, optimizer, place_step=place_step, **settings)

    with pytest.raises(ValueError, match="fit: data of process 1 differ from those of process 0"):
        run((data[0] + mine, data[1]))
    with pytest.raises(ValueError, match="fit: epochs of process 1 differ"):
        run(epochs=1 + mine)
    with pytest.raises(ValueError, match="replicate: arrays of process 1 differ"):
        replicate(problem.start(seed=mine), mesh)
    with pytest.raises(ValueError, match="the train state lies in one process, but there are 2"):
        run(place_step=None)
    with pytest.raises(
        ValueError, match=f"multiple of {jax.device_count()} as batch_size, or add examples of weight 0"
    ):
        run(batch_size=7)
    with pytest.raises(ValueError, match=r"fit: data\[1\]: cross_entropy takes labels that are classes from 0 to 2"):
        run((data[0], data[1] + 1))
    with pytest.raises(KeyError if mine else OtherProcessError, match="mine" if mine else "in another process"):
        run(callbacks=[lambda event: {}["mine"] if mine and event.step == 2 else None])
    with pytest.raises(ZeroDivisionError):
        from_first(lambda: 1 / 0)
    with pytest.raises(
        KeyError if mine else OtherProcessError, match="mine" if mine else "work failed in process 1 of 2"
    ):
        all_or_none("work", lambda: {}["mine"] if mine else None)
    with pytest.raises(
        KeyError if mine else OtherProcessError, match="mine" if mine else "waiting failed in another process"
    ):
        wait_together("waiting", lambda: {}["mine"] if mine else time.sleep(SLEEP_SECONDS))
    if not mine:
        time.sleep(1)  # the other process waits for this one's answer when it fails
    with pytest.raises(
        KeyError if mine else OtherProcessError, match="mine" if mine else "waiting failed in another process"
    ):
        wait_together("waiting", lambda: time.sleep(0.3 if mine else SLEEP_SECONDS) or {}["mine"])

    stopped = run(callbacks=[lambda event: mine == 1 and event.kind == "epoch"])
    assert int(stopped.train_state.step) == 2
    assert [record["split"] for record in stopped.history] == ["train", "validation"]

    rows = NamedSharding(mesh, PartitionSpec("data"))
    own = jax.tree.map(lambda array: array[8 * mine : 8 * mine + 8], data)
    joined = jax.tree.map(lambda array: jax.make_array_from_process_local_data(rows, array), own)
    folders = Checkpoints(folder / "whole"), Checkpoints(folder / "divided")
    same = [run(given, checkpoints=to).train_state.params for given, to in zip((data, joined), folders, strict=True)]
    for a, b in zip(*map(jax.tree.leaves, same), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6)
    again = run(checkpoints=Checkpoints(folder / "divided"), epochs=3)  # the same data, given in another way
    assert again.first_step == 4


def fill_up(folder):
    """Process 0, which alone writes arrays that are whole on all devices, may write no more once training has begun."""

    def limit(event):
        if is_first() and event.kind == "start":
            resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))

    checkpoints = Checkpoints(folder / "full")
    step = functools.partial(data_parallel, mesh=device_mesh())
    train(CNN, images(), ADAM, place_step=step, callbacks=[limit], checkpoints=checkpoints)


def damage_all(folder):
    """Checkpoints of divided arrays that were not completed, or of which one file is damaged or missing."""
    placement = place(GPT, make_mesh({"data": jax.device_count()}), FSDP)
    complete = folder / "complete"
    like = train(GPT, texts(), ADAM, placement, epochs=1, checkpoints=Checkpoints(complete, best=None)).train_state
    assert same_arrays(load_last(complete, like=like), like)
    changes = {
        "an incomplete one": lambda step: step.rename(step.with_name("4.orbax-checkpoint-tmp")),
        "no record": lambda step: (step / "run" / "metadata").unlink(),
        "a damaged record": lambda step: flip(step / "run" / "metadata"),
        "no list of arrays": lambda step: (step / "train_state" / "_METADATA").unlink(),
        "a damaged list of arrays": lambda step: flip(step / "train_state" / "_METADATA"),
        "shapes of one process damaged": lambda step: flip(step / "train_state" / "array_metadatas" / "process_1"),
        "no data": lambda step: shutil.rmtree(step / "train_state" / "ocdbt.process_0"),  # the last: reads go on
    }
    for number, (what, change) in enumerate(changes.items()):
        damaged = folder / f"damaged{number}"
        from_first(lambda damaged=damaged, change=change: change(shutil.copytree(complete, damaged) / "last" / "4"))
        with pytest.raises((FileNotFoundError, ValueError, OtherProcessError)) as caught:
            load_last(damaged, like=like)
        named = "no complete checkpoint in" if what == "an incomplete one" else "cannot be read"
        assert named in str(caught.value) or caught.type is OtherProcessError, f"{what}: {caught.value!r}"
        print(what, "is named" if str(damaged) in str(caught.value) else "is named by another", flush=True)
    sys.stdout.flush()


def flip(file):
    """Change the byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def same_arrays(tree, other):
    """Whether all entries are equal, those in other processes included."""
    pairs = zip(*map(jax.tree.leaves, to_host((tree, other))), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def long_run(folder):
    """A run with checkpoints, slow enough to be stopped; `kill -9` or a signal may come at any time.

    With READ=1 the examples are read one by one. With KILL_IN_SAVE=3 the last process kills itself while its third
    checkpoint is being written.
    """
    run_folder = RunFolder.open("long", Config(), path=folder / "run")
    pause = float(os.environ.get("PAUSE", "0"))
    data = jax.device_get(problem.data(40))
    if jax.process_index() == jax.process_count() - 1 and (saves := int(os.environ.get("KILL_IN_SAVE", "0"))):
        die_in_save(saves)

    def slow(event):
        if event.kind == "steps":
            print("steps", event.step, flush=True)
            time.sleep(pause)

    result = train(
        problem.MODEL,
        Source(Examples(data)) if os.environ.get("READ") else data,
        problem.OPTIMIZER,
        place_step=lambda step: data_parallel(step, device_mesh()),
        callbacks=[slow, record_metrics(run_folder)],
        checkpoints=Checkpoints(run_folder.checkpoints, every_steps=2),
        epochs=8,
    )
    print("first step", result.first_step, "of", int(result.train_state.step), flush=True)
    if is_first():
        np.savez(folder / "end.npz", **jax.device_get(paths(result.train_state.params)))
        (folder / "history.txt").write_text("\n".join(f"{row['split']} {row['step']}" for row in result.history))


def die_in_save(saves):
    """Kill this process once the files of that many checkpoints have begun to be written."""
    save, begun = checkpoint_store.save, []

    def save_and_die(manager, progress):
        save(manager, progress)  # goes on in the background
        begun.append(progress)
        if len(begun) == saves:
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint_store.save = save_and_die


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    start_processes()
    programs = {"train": train_all, "refuse": refuse_all, "full": fill_up, "damage": damage_all, "long": long_run}
    programs[sys.argv[1]](Path(sys.argv[2]))
