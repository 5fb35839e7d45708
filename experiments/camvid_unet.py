"""Give every pixel of a road scene one of 11 classes: a U-Net on CamVid at 240 x 180 pixels.

Training sees random windows of the images, mirrored at random together with their labels. Void pixels count neither in
the loss nor in a score. Rare classes weigh more, by (median frequency / frequency)^`--balance`. `--size reference` is
the network of the paper with batch norm, 64 channels at full size, for an accelerator; 127 of its 300 epochs were
run, and no test.

Published, for networks that were not pretrained, mean IoU and global accuracy on the same 233 test images (Jegou et al.
2017, table 3): Classic Upsampling 0.552 and 0.868, FC-DenseNet56 0.589 and 0.889, FC-DenseNet67 0.658 and 0.908,
FC-DenseNet103 0.669 and 0.915. Those are for 480 x 360 pixels; these files have a quarter of them and were compressed
as JPEG, so the scores cannot be compared directly.

expected:  test mean IoU 0.356 +- 0.014, accuracy 0.746 +- 0.018 (mean and deviation over the seeds 0 to 2): short
           training, 2.8 passes over all pixels; with --epochs 30 0.434 and 0.805 (one run, seed 0, on a GPU)
time:      12 min, 9 of processor time; 30 epochs 2.5 min on a GPU that is shared, half of it to compile
compile:   23 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon, machine shared, jax 0.10.2; 30 epochs on an NVIDIA H100, jax 0.11.2
command:   python -m experiments.camvid_unet --seed 0
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support.segmentation_figures import plot_segmentations
from jaxnets import losses, metrics, summary
from jaxnets.config import PositiveInt
from jaxnets.data import CAMVID_CLASSES, CAMVID_VOID, DataSet, augment, camvid
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, main, show_summary
from jaxnets.experiment.classifier import random_images
from jaxnets.model import Model
from jaxnets.models import SegmentationUNetConfig, segmentation_unet
from jaxnets.regularizers import decay_mask
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    Loss,
    TrainState,
    fit,
    init_train_state,
    make_evaluate,
    make_step,
    steps_per_epoch,
)

EVALUATED = 4
"""Whole images that are measured at a time."""
PUBLISHED = {
    "building": 0.776,
    "tree": 0.720,
    "sky": 0.924,
    "car": 0.732,
    "sign": 0.318,
    "road": 0.928,
    "pedestrian": 0.379,
    "fence": 0.262,
    "pole": 0.326,
    "pavement": 0.799,
    "bicyclist": 0.311,
}
"""IoU of FC-DenseNet56 at 480 x 360 pixels, Jegou et al. 2017, table 3."""


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the initial values, the order of the images and the augmentation."""
    size: Literal["small", "reference"] = "small"
    """reference takes the settings of `REFERENCE` instead of those given."""
    width: PositiveInt = 24
    """Channels at full size."""
    levels: PositiveInt = 4
    """How often the size is halved."""
    upsampling: Literal["transposed", "bilinear"] = "transposed"
    """How it is doubled again."""
    dropout_rate: float = 0.0
    """After the lowest level."""
    window: tuple[int, int] = (96, 128)
    """Height and width of the windows that are trained on."""
    balance: float = 0.5
    """How much more rare classes weigh: 0 not at all, 1 by the median frequency."""
    epochs: int = 10
    batch_size: int = 4
    learning_rate: float = 3e-3
    """AdamW's largest one, after a twentieth of the run; it falls to zero along a cosine."""
    weight_decay: float = 1e-2
    """AdamW's, of the kernels."""

    @property
    def reference(self) -> bool:
        """Whether `size` is reference."""
        return self.size == "reference"


REFERENCE: dict[str, Any] = {
    "width": 64,
    "levels": 4,
    "dropout_rate": 0.2,
    "window": (160, 208),
    "epochs": 300,
    "batch_size": 8,
    "learning_rate": 1e-3,
}
"""The network of the paper, for an accelerator."""
SMOKE: dict[str, Any] = {"epochs": 1, "batch_size": 2, "width": 2, "levels": 2, "window": (16, 16)}


def network(config: Config) -> Model:
    """The U-Net, with batch norm."""
    settings: dict[str, Any] = {"upsampling": config.upsampling, "dropout_rate": config.dropout_rate, "norm": True}
    classes = len(CAMVID_CLASSES)
    return segmentation_unet(SegmentationUNetConfig(classes, width=config.width, levels=config.levels, **settings))


def load(config: Config) -> DataSet:
    """The images, or noise for `--smoke`."""
    if not config.smoke:
        return camvid()
    noise = random_images((18, 24, 3), CAMVID_CLASSES, 2 * config.batch_size)
    generator = np.random.default_rng(1)
    train, validation, test = (
        (images, generator.integers(0, CAMVID_VOID + 1, images.shape[:3]).astype(np.int32)) for images, _ in noise[:3]
    )
    return DataSet(train, validation, test, CAMVID_CLASSES)


def class_weights(labels: np.ndarray, balance: float) -> np.ndarray:
    """What a pixel of each label weighs, `[classes + 1]`: (median frequency / frequency)^balance, and 0 for void.

    The frequency of a class is its share of the pixels of those images that have it, as for SegNet.
    """
    counts = np.stack([np.bincount(image.ravel(), minlength=CAMVID_VOID + 1)[:CAMVID_VOID] for image in labels])
    pixels = ((counts > 0) * np.prod(labels.shape[1:])).sum(axis=0)
    frequency = counts.sum(axis=0) / np.maximum(pixels, 1)
    found = frequency > 0
    weights = np.zeros(CAMVID_VOID + 1)
    weights[:CAMVID_VOID][found] = (np.median(frequency[found]) / frequency[found]) ** balance
    return weights.astype(np.float32)


def make_loss(model: Model, weights: np.ndarray) -> Loss:
    """Weighted mean of the pixels' cross-entropy; accuracy, mean IoU and IoU of each class, all without void."""

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        images, labels = batch
        logits, new_state = model.apply(params, state, images, key=key, train=train)
        counted = jnp.where(labels == CAMVID_VOID, 0, labels)
        mean = metrics.mean(losses.cross_entropy(logits, counted), weights=jnp.asarray(weights)[labels])
        score = functools.partial(metrics.iou, logits, labels, ignored=CAMVID_VOID)
        measured = {
            "loss": mean,
            "accuracy": metrics.pixel_accuracy(logits, labels, ignored=CAMVID_VOID),
            "mean_iou": score(),
        }
        return mean, (new_state, measured if train else measured | {"iou": score(average=None)})

    return loss


def make_optimizer(config: Config, images: int) -> optax.GradientTransformation:
    """AdamW with a warm-up and a cosine."""
    steps = config.epochs * steps_per_epoch(images, config.batch_size)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(1, steps // 20), steps)
    return optax.adamw(rate, weight_decay=config.weight_decay, mask=decay_mask)


def show(iou: dict[str, float], folder: RunFolder) -> None:
    """Print the table of the classes, and write it into `classes.txt`."""
    lines = ["class       IoU    published at 480 x 360 (FC-DenseNet56)"]
    lines += [f"{name:<10}  {value:.3f}  {PUBLISHED[name]:.3f}" for name, value in iou.items()]
    (folder.path / "classes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def draw_overlays(folder: RunFolder, model: Model, train_state: TrainState, data: DataSet) -> None:
    """Draw four images of the test split, evenly chosen."""
    images, labels = data.test
    places = np.linspace(0, len(images) - 1, 6).astype(int)[1:-1]
    logits, _ = model.apply(train_state.params, train_state.state, jnp.asarray(images[places]), train=False)
    predicted = np.asarray(jnp.argmax(logits, axis=-1))
    plot_segmentations(images[places], labels[places], predicted, CAMVID_CLASSES, folder.path / "segmentations.png")


@in_run_folder(reference=REFERENCE, smoke=SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, measure the test images, and draw."""
    data, model = load(config), network(config)
    loss = make_loss(model, class_weights(data.train[1], config.balance))
    move = augment.paired(
        augment.chain(functools.partial(augment.random_crop, size=config.window), augment.random_flip)
    )
    optimizer = make_optimizer(config, len(data.train[0]))
    show_summary(folder, summary(model, data.train[0][:1]))
    evaluate = make_evaluate(loss, batch_size=EVALUATED)
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        make_step(augment.augmented(loss, mix=move), optimizer),
        data.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=evaluate,
        validation=data.validation,
        evaluate_every=max(1, config.epochs // 4),
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    train_state = trained.train_state
    measured = metrics.compute(jax.jit(evaluate)(train_state, data.test))
    classes = dict(zip(data.classes, np.asarray(measured.pop("iou"), np.float64).tolist(), strict=True))
    test = {name: float(value) for name, value in measured.items()}
    folder.append_metrics(step=int(train_state.step), epoch=float(config.epochs), split="test", metrics=test)
    show(classes, folder)
    print(f"test mean IoU {test['mean_iou']:.4f}, accuracy {test['accuracy']:.4f}")

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        draw_overlays(folder, model, train_state, data)

    found = trained.metrics | {"test": test, "test_iou": classes}
    return Findings.of_fit(trained, found, train_state.params, draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
