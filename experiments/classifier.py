"""Train a classifier of images and leave a complete run folder; the experiments with images share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
import optax

from jaxnets import losses, metrics, summary
from jaxnets.data import DataSet, augment
from jaxnets.model import Model
from jaxnets.report import RunFolder, plot_confusion, plot_curves, plot_mistakes, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    Loss,
    TrainState,
    fit,
    gradient_table,
    init_train_state,
    make_evaluate,
    make_gradient_report,
    make_step,
    supervised,
)


class Settings(Protocol):
    """What the settings of a classifier's experiment have at least."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def epochs(self) -> int:
        """How often the network sees every example."""

    @property
    def batch_size(self) -> int:
        """Examples a step."""

    @property
    def out(self) -> Path | None:
        """The run folder; None for a new one."""


def train_classifier(
    experiment: str,
    config: Settings,
    model: Model,
    optimizer: optax.GradientTransformation,
    data: DataSet,
    *,
    loss_function: Callable[[Any, Any], Any] = losses.cross_entropy,
    augmentation: augment.Augmentation | None = None,
) -> dict[str, Any]:
    """Train, evaluate, and write the run folder; returns what is in its result.json.

    A run that was stopped goes on; of one that has ended the result is shown. A network may return more than its
    logits in training, as long as they are called so and `loss_function` knows what to do with the rest.
    """
    folder = RunFolder.open(experiment, config, path=config.out)
    if (done := folder.read_result()) is not None:
        print(f"this run has ended: {folder.path / 'result.json'}")
        return done
    loss = supervised(model, loss_function, {"accuracy": _accuracy})
    print(summary(model, data.train[0][: config.batch_size]), flush=True)
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        make_step(augment.augmented(loss, augmentation) if augmentation else loss, optimizer),
        data.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=make_evaluate(loss),
        validation=data.validation,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    started = time.perf_counter()
    measured = measure_test(folder, model, trained.train_state, data)
    folder.append_metrics(
        step=int(trained.train_state.step), epoch=float(config.epochs), split="test", metrics=measured
    )
    plot_curves(folder.read_metrics(), folder.path / "curves.png")
    write_gradients(folder, loss, trained.train_state, data, config.batch_size)
    result = folder.write_result(
        trained.metrics | {"test": measured},
        trained.train_state.params,
        compile_seconds=trained.compile_seconds,
        run_seconds=trained.run_seconds + time.perf_counter() - started,
        first_step=trained.first_step,
    )
    print(f"test accuracy {measured['accuracy']:.4f}, loss {measured['loss']:.4f}")
    print(f"fingerprint {result['fingerprint']}")
    print(f"run folder {folder.path}")
    return result


def _accuracy(outputs: Any, labels: Any) -> Any:
    return metrics.accuracy(getattr(outputs, "logits", outputs), labels)


def measure_test(folder: RunFolder, model: Model, train_state: TrainState, data: DataSet) -> dict[str, float]:
    """Measure the test part and draw its mistakes and confusion matrix."""
    images, labels = data.test
    predict = jax.jit(lambda params, state, x: model.apply(params, state, x, train=False)[0])
    parts = [images[first : first + 1000] for first in range(0, len(images), 1000)]
    logits = np.concatenate([predict(train_state.params, train_state.state, part) for part in parts])
    probabilities = np.asarray(jax.nn.softmax(logits))
    predictions = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(predictions, labels, classes=len(data.classes)).compute()
    plot_confusion(confusion, data.classes, folder.path / "confusion.png")
    plot_mistakes(
        images, labels, predictions, probabilities.max(axis=1), folder.path / "mistakes.png", class_names=data.classes
    )
    numbers = {"loss": metrics.mean(losses.cross_entropy(logits, labels)), "accuracy": metrics.accuracy(logits, labels)}
    return {name: float(value) for name, value in metrics.compute(numbers).items()}


def write_gradients(folder: RunFolder, loss: Loss, train_state: TrainState, data: DataSet, batch_size: int) -> None:
    """Write the gradient report of one batch, after training, into `gradients.txt`."""
    batch = jax.tree.map(lambda array: array[:batch_size], data.train)
    report = jax.jit(make_gradient_report(loss))(train_state, batch)
    (folder.path / "gradients.txt").write_text(gradient_table(report) + "\n", encoding="utf-8")


def for_smoke(data: DataSet, batch_size: int) -> DataSet:
    """The first examples of each part, enough for two steps."""
    size = 2 * batch_size
    parts = [(inputs[:size], labels[:size]) for inputs, labels in data[:3]]
    return DataSet(parts[0], parts[1], parts[2], data.classes)


def random_images(shape: tuple[int, int, int], classes: tuple[str, ...], size: int) -> DataSet:
    """Noise in the form of a data set, so that `--smoke` needs no files; nothing can be learned from it."""
    generator = np.random.default_rng(0)

    def part() -> tuple[np.ndarray, np.ndarray]:
        images = generator.random((size, *shape), np.float32)
        return images, generator.integers(0, len(classes), size).astype(np.int32)

    return DataSet(part(), part(), part(), classes)
