"""Train a classifier of images and leave a complete run folder; the experiments with images share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from jaxnets import losses, metrics, summary
from jaxnets.compiler import compile_quickly
from jaxnets.data import DataSet, augment
from jaxnets.experiment.runner import Findings, show_summary
from jaxnets.experiment.settings import TrainingSettings
from jaxnets.model import Model
from jaxnets.processes import process_count, to_host
from jaxnets.report import RunFolder, plot_confusion, plot_curves, plot_mistakes, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    Loss,
    TrainState,
    data_parallel,
    device_mesh,
    fit,
    gradient_table,
    init_train_state,
    make_evaluate,
    make_gradient_report,
    make_step,
    steps_per_epoch,
    supervised,
)


def train_classifier(
    config: TrainingSettings,
    folder: RunFolder,
    model: Model,
    optimizer: optax.GradientTransformation,
    data: DataSet,
    *,
    loss_function: Callable[[Any, Any], Any] = losses.cross_entropy,
    augmentation: augment.Augmentation | None = None,
) -> Findings:
    """Train, evaluate, and draw; a run that was stopped goes on. Several processes divide every batch.

    A network may return more than its logits in training, as long as they are called so and `loss_function` knows what
    to do with the rest.

    Args:
        config: epochs, batch size and seed.
        folder: of the run; metrics, checkpoints, `gradients.txt` and pictures are written there.
        model: takes images `[batch, height, width, channels]` and returns logits `[batch, classes]`.
        optimizer: of optax.
        data: three splits of images and labels, and the names of the classes.
        loss_function: `loss_function(outputs, labels)` of each example.
        augmentation: changes the images of each training batch at random.

    Returns:
        The metrics of the last epoch and of the test, the parameters, and a function that draws the pictures.

    Example:
        `train_classifier(config, folder, model, adam_with_cosine(config, data), digits(config.seed))`; all of it is in
        `jaxnets/experiment/digits_cnn.py`.
    """
    loss = supervised(model, loss_function, {"accuracy": _accuracy})
    show_summary(folder, summary(model, data.train[0][: config.batch_size]))
    step = make_step(augment.augmented(loss, augmentation) if augmentation else loss, optimizer)
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        data_parallel(step, device_mesh()) if process_count() > 1 else step,
        data.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=make_evaluate(loss),
        validation=data.validation,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    train_state = to_host(trained.train_state) if process_count() > 1 else trained.train_state
    logits = logits_in_batches(lambda *given: model.apply(*given, train=False)[0], train_state, data.test[0])
    test = loss_and_accuracy(logits, data.test[1])
    folder.append_metrics(step=int(train_state.step), epoch=float(config.epochs), split="test", metrics=test)
    write_gradients(folder, loss, train_state, data, config.batch_size)
    print(f"test accuracy {test['accuracy']:.4f}, loss {test['loss']:.4f}")
    found = Findings.of_fit(trained, trained.metrics | {"test": test}, train_state.params)
    return found._replace(draw=lambda: draw_pictures(folder, logits, data))


def _accuracy(outputs: Any, labels: Any) -> Any:
    return metrics.accuracy(getattr(outputs, "logits", outputs), labels)


def draw_pictures(folder: RunFolder, logits: np.ndarray, data: DataSet) -> None:
    """Draw the curves of the run, and mistakes and confusion matrix of the test split."""
    plot_curves(folder.read_metrics(), folder.path / "curves.png")
    images, labels = data.test

    def describe(logits: Any, labels: Any) -> Any:
        predictions = logits.argmax(axis=1)
        return jax.nn.softmax(logits), metrics.confusion_matrix(
            predictions, labels, classes=len(data.classes)
        ).compute()

    probabilities, confusion = jax.device_get(compile_quickly(describe, traced=False)(logits, labels))
    predictions = probabilities.argmax(axis=1)
    plot_confusion(confusion, data.classes, folder.path / "confusion.png")
    plot_mistakes(
        images, labels, predictions, probabilities.max(axis=1), folder.path / "mistakes.png", class_names=data.classes
    )


def logits_in_batches(predict: Callable[..., Any], train_state: TrainState, images: Any) -> np.ndarray:
    """The logits `predict(params, state, images)`, a thousand images at a time."""
    compiled = jax.jit(predict)
    batches = [images[first : first + 1000] for first in range(0, len(images), 1000)]
    return np.concatenate([compiled(train_state.params, train_state.state, batch) for batch in batches])


def loss_and_accuracy(logits: Any, labels: Any) -> dict[str, float]:
    """Mean cross-entropy and accuracy."""

    def measure(logits: Any, labels: Any) -> dict[str, Any]:
        return {
            "loss": metrics.mean(losses.cross_entropy(logits, labels)),
            "accuracy": metrics.accuracy(logits, labels),
        }

    measured = compile_quickly(measure, traced=False)(logits, labels)
    return {name: float(value) for name, value in jax.device_get(metrics.compute(measured)).items()}


def write_gradients(folder: RunFolder, loss: Loss, train_state: TrainState, data: DataSet, batch_size: int) -> None:
    """Write the gradient report of one batch, after training, into `gradients.txt`."""
    batch = jax.tree.map(lambda array: array[:batch_size], data.train)
    report = compile_quickly(make_gradient_report(loss), traced=False)(train_state, batch)
    folder.write_text("gradients.txt", gradient_table(report))


def adam_with_cosine(config: TrainingSettings, data: DataSet) -> optax.GradientTransformation:
    """Adam, whose learning rate falls from that of the settings to zero along a cosine."""
    steps = config.epochs * steps_per_epoch(len(data.train[0]), config.batch_size)
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, steps))


def first_examples(data: DataSet, size: int) -> DataSet:
    """The first examples of each split."""
    train, validation, test = ((inputs[:size], labels[:size]) for inputs, labels in data[:3])
    return DataSet(train, validation, test, data.classes)


def random_images(shape: tuple[int, int, int], classes: tuple[str, ...], size: int) -> DataSet:
    """Noise in the form of a data set, so that `--smoke` needs no files; nothing can be learned from it."""
    generator = np.random.default_rng(0)

    def split() -> tuple[np.ndarray, np.ndarray]:
        images = generator.random((size, *shape), np.float32)
        return images, generator.integers(0, len(classes), size).astype(np.int32)

    return DataSet(split(), split(), split(), classes)
