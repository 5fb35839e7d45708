"""A recurrent network that writes like Shakespeare, character by character: --cell rnn, lstm or gru.

expected:  validation loss, in nats a character, after 8 epochs over the seeds 0 to 2:
           lstm 1.596 +- 0.005, gru 1.502 +- 0.007, rnn 1.602 +- 0.004
time:      lstm 4 min, gru 3 to 4 min, rnn 80 s
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.shakespeare_rnn --seed 0 --cell lstm
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import command_line
from jaxnets import losses, metrics, summary
from jaxnets.data import CharacterText, characters, text_windows, tiny_shakespeare
from jaxnets.model import Model
from jaxnets.models import CharRNNConfig, char_rnn, generate_characters
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    Loss,
    fit,
    init_train_state,
    load_best,
    make_evaluate,
    make_step,
    steps_per_epoch,
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the experiment."""

    seed: int = 0
    """Of the initial values and the order of the examples."""
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """The kind of recurrent layer."""
    hidden: int = 256
    """Size of the embedding and of the layer."""
    layers: int = 1
    """How many recurrent layers."""
    epochs: int = 8
    """How often the network sees the text."""
    batch_size: int = 32
    """Windows a step."""
    length: int = 128
    """Characters of a window; each begins with a carry of zeros."""
    learning_rate: float = 4e-3
    """Adam's rate after warm-up; it falls to zero along a cosine."""
    dropout_rate: float = 0.0
    """Of dropout."""
    temperature: float = 0.8
    """Of the sample."""
    out: Path | None = None
    """The run folder; by default runs/shakespeare_rnn/<time>-seed<seed>."""
    smoke: bool = False
    """Take two steps on a few lines only, to see that everything runs; needs no file."""


def next_character_loss(model: Model) -> Loss:
    """The mean cross-entropy, in nats a character, of each character after those before it."""

    def loss(params: Any, state: Any, windows: Any, *, key: Any, train: bool) -> Any:
        logits, state = model.apply(params, state, windows[:, :-1], key=key, train=train)
        values = losses.cross_entropy(logits, windows[:, 1:])
        measured = {"loss": metrics.mean(values), "accuracy": metrics.accuracy(logits, windows[:, 1:])}
        return jnp.mean(values), (state, measured)

    return loss


def read_text(config: Config) -> tuple[CharacterText, np.ndarray, np.ndarray]:
    """The text, and windows of its first nine tenths and of its last tenth.

    Those of the last tenth are four times as long: fewer characters there are predicted from next to nothing.
    """
    text = tiny_shakespeare()
    return text, text_windows(text.train, config.length), text_windows(text.validation, 4 * config.length)


def smoke_text(length: int, batch_size: int) -> tuple[CharacterText, np.ndarray, np.ndarray]:
    """The same of two lines, repeated."""
    line = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n"
    text = characters(line * 150)
    windows = text_windows(text.train, length)
    return text, windows[: 2 * batch_size], windows[:4]


def run(config: Config) -> dict[str, Any]:
    """Train, evaluate, write the run folder and a sample; returns what is in the result.json."""
    if config.smoke:
        config = dataclasses.replace(config, epochs=1, batch_size=4, length=32, hidden=16)
    read = smoke_text(config.length, config.batch_size) if config.smoke else read_text(config)
    text, train, validation = read
    folder = RunFolder.open("shakespeare_rnn", config, path=config.out)
    if (done := folder.read_result()) is not None:
        print(f"this run has ended: {folder.path / 'result.json'}")
        return done
    network = CharRNNConfig(
        vocabulary=len(text.vocabulary.characters),
        cell=config.cell,
        hidden=config.hidden,
        layers=config.layers,
        dropout_rate=config.dropout_rate,
    )
    model = char_rnn(network)
    print(summary(model, train[: config.batch_size, :-1]), flush=True)
    steps = config.epochs * steps_per_epoch(len(train), config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    loss = next_character_loss(model)
    start = init_train_state(model, optimizer, config.seed)
    trained = fit(
        start,
        make_step(loss, optimizer),
        train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=make_evaluate(loss, batch_size=32),
        validation=validation,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    started = time.perf_counter()
    best = load_best(folder.checkpoints, like=trained.train_state)
    prompt = jnp.asarray(text.vocabulary.encode("\n"))[None]
    settings: dict[str, Any] = {"temperature": config.temperature, "key": jax.random.key(config.seed)}
    ids = generate_characters(network, best.params, prompt, 500, **settings)
    return write_run(folder, trained, text.vocabulary.decode(np.asarray(ids[0])), started)


def write_run(folder: RunFolder, trained: Any, sample: str, started: float) -> dict[str, Any]:
    """Write the sample, the curves and the result of a run whose training ended at `started`."""
    (folder.path / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    plot_curves(folder.read_metrics(), folder.path / "curves.png")
    result = folder.write_result(
        trained.metrics,
        trained.train_state.params,
        compile_seconds=trained.compile_seconds,
        run_seconds=trained.run_seconds + time.perf_counter() - started,
        first_step=trained.first_step,
    )
    print(f"{sample}\n\nvalidation loss {trained.metrics['validation']['loss']:.4f} nats a character")
    print(f"fingerprint {result['fingerprint']}\nrun folder {folder.path}")
    return result


if __name__ == "__main__":
    command_line.main(Config, run, __doc__)
