"""What the experiments with text have in common: their data, the loss, and the training with a sample at the end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import losses, metrics, summary
from jaxnets.config import PositiveInt
from jaxnets.data import CharacterText, characters, text_windows, tiny_shakespeare
from jaxnets.experiment import Findings, TrainingSettings, show_summary
from jaxnets.model import Model
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import Checkpoints, Loss, TrainState, fit, init_train_state, make_evaluate, make_step

SAMPLE_LENGTH = 500


@dataclasses.dataclass(frozen=True)
class TextSettings(TrainingSettings):
    """Settings that the experiments share."""

    seed: int = 0
    """Of the initial values, the order of the examples and the sample."""
    epochs: int = 1
    """How often the network sees the text."""
    batch_size: int = 32
    """Windows per step."""
    length: PositiveInt = 128
    """Characters of a window."""
    dropout_rate: float = 0.0
    """Of dropout."""
    temperature: float = 0.8
    """Of the sample."""


class TextData(NamedTuple):
    """A text, and windows `[windows, length + 1]` of its first nine tenths and of its last tenth."""

    text: CharacterText
    train: np.ndarray
    validation: np.ndarray


def load(config: TextSettings, validation_length: int) -> TextData:
    """Shakespeare, or for `--smoke` two lines of it, repeated."""
    if config.smoke:
        line = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n"
        text = characters(line * 150)
        windows = text_windows(text.train, config.length)
        return TextData(text, windows[: 2 * config.batch_size], windows[:4])
    text = tiny_shakespeare()
    windows = text_windows(text.train, config.length)
    return TextData(text, windows, text_windows(text.validation, validation_length))


def next_character_loss(model: Model) -> Loss:
    """The mean cross-entropy, in nats per character, of each character after those before it."""

    def loss(params: Any, state: Any, windows: Any, *, key: Any, train: bool) -> Any:
        logits, state = model.apply(params, state, windows[:, :-1], key=key, train=train)
        values = losses.cross_entropy(logits, windows[:, 1:])
        measured = {"loss": metrics.mean(values), "accuracy": metrics.accuracy(logits, windows[:, 1:])}
        return jnp.mean(values), (state, measured)

    return loss


def train_on_text(
    config: TextSettings,
    folder: RunFolder,
    model: Model,
    optimizer: optax.GradientTransformation,
    data: TextData,
    generate: Callable[[TrainState, Any, Any], Any],
    *,
    evaluation_batch_size: int,
) -> Findings:
    """Train, evaluate, draw, and write a sample; a run that was stopped goes on.

    `generate(train_state, prompt, key)` returns the characters of the sample, `[1, SAMPLE_LENGTH + 1]` with the prompt.
    """
    loss = next_character_loss(model)
    show_summary(folder, summary(model, data.train[: config.batch_size, :-1]))
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        make_step(loss, optimizer),
        data.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=make_evaluate(loss, batch_size=evaluation_batch_size),
        validation=data.validation,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    vocabulary = data.text.vocabulary
    prompt = jnp.asarray(vocabulary.encode("\n"))[None]
    ids = generate(trained.train_state, prompt, jax.random.key(config.seed))
    sample = vocabulary.decode(np.asarray(ids[0]))
    (folder.path / "sample.txt").write_text(sample + "\n", encoding="utf-8")
    print(f"{sample}\n\nvalidation loss {trained.metrics['validation']['loss']:.4f} nats per character")
    found = Findings.of_fit(trained, trained.metrics, trained.train_state.params)
    return found._replace(draw=lambda: plot_curves(folder.read_metrics(), folder.path / "curves.png"))
