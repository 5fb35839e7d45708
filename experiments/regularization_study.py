"""What each way of regularization gains on 1,000 images of MNIST, for 8 networks of each trained at once.

All variants train the same perceptron, 784-256-256-10, for as many epochs with Adam. Each of the 8 networks has its own
1,000 training and 1,000 validation images, 100 of each digit, and its own initial values, the same in all variants;
the 10,000 test images are looked at once, at the end. `--seed s` stands for the networks 8 s to 8 s + 7. The strengths
are those of the best validation accuracy in `--search --seed 100`, so no test image had a part in them; of the entropy
penalty and label smoothing these are the strongest that were tried, of L2 the weakest.

expected:  test accuracy none 0.906 +- 0.002 over the seeds 0 to 2 (a network is off by 0.004), training accuracy 1.000;
           gains: all combined 0.047 +- 0.002, augmentation 0.038 +- 0.002, label smoothing 0.0185 +- 0.0005, entropy
           penalty 0.0178 +- 0.0005, batch norm 0.0050 +- 0.0002, decoupled decay 0.0025 +- 0.0004, dropout
           0.0020 +- 0.0002, L2 -0.0003 +- 0.0004, early stopping -0.008 +- 0.001, which lowers the loss alone
time:      2 min 55 s beside other work, 2 min 10 s of processor time
compile:   11 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.regularization_study --seed 0
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support.many import consecutive_seeds, stack
from experiments.support.regularization_figures import plot_study
from jaxnets import losses, metrics, regularizers, training
from jaxnets.config import PositiveInt
from jaxnets.data import Split, augment, mnist
from jaxnets.experiment import Findings, Result, TrainingSettings, in_run_folder, main, with_presets
from jaxnets.experiment.classifier import random_images
from jaxnets.model import Model
from jaxnets.models import MLPConfig, mlp
from jaxnets.report import RunFolder, plot_curves, working

SIZES = (784, 256, 256, 10)
DIGITS = 10
AUGMENTATION = functools.partial(augment.random_affine, degrees=15.0, factor=(0.9, 1.1), pixels=2.0)


def switch() -> Any:
    """A setting that is part of the compiled program, as numbers are not."""
    return dataclasses.field(default=False, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variant:
    """One way of regularization, or several."""

    l2: float = 0.0
    """c in loss + c |W|^2, over all weights but the biases."""
    decoupled_decay: float = 0.0
    """What AdamW takes off each weight at every step, in units of learning rate times weight; not off biases."""
    dropout: float = 0.0
    """Probability to drop a hidden unit."""
    entropy_penalty: float = 0.0
    """b in loss - b H(p), the confidence penalty of the literature: surer predictions cost more."""
    label_smoothing: float = 0.0
    """Share of each label that is spread evenly over the classes."""
    batch_norm: bool = switch()
    """Whether each hidden layer normalizes before its activation."""
    augmentation: bool = switch()
    """Whether every image is rotated, scaled and shifted at random each time it is seen in training."""
    early_stopping: bool = switch()
    """Whether the network is that of the epoch of the smallest validation loss, not that of the last."""


VARIANTS = {
    "none": Variant(),
    "L2 on the loss": Variant(l2=1e-5),
    "decoupled decay": Variant(decoupled_decay=1.0),
    "dropout": Variant(dropout=0.5),
    "entropy penalty": Variant(entropy_penalty=1.0),
    "label smoothing": Variant(label_smoothing=0.5),
    "batch norm": Variant(batch_norm=True),
    "augmentation": Variant(augmentation=True),
    "early stopping": Variant(early_stopping=True),
    "all combined": Variant(
        decoupled_decay=1.0, dropout=0.1, label_smoothing=0.1, batch_norm=True, augmentation=True, early_stopping=True
    ),
}
LINE = (
    "{:16}  {test_accuracy:.4f} +- {test_accuracy_sd:.4f}  {test_loss:.4f} +- {test_loss_sd:.4f}"
    "  {train_accuracy:.4f}    {gap:.4f}  {gain:+.4f}  {epoch:.1f}"
)

CANDIDATES = [
    *(Variant(l2=value) for value in (1e-5, 1e-4, 1e-3, 1e-2)),
    *(Variant(decoupled_decay=value) for value in (0.1, 0.3, 1.0, 3.0)),
    *(Variant(dropout=value) for value in (0.1, 0.25, 0.5, 0.75)),
    *(Variant(entropy_penalty=value) for value in (0.03, 0.1, 0.3, 1.0)),
    *(Variant(label_smoothing=value) for value in (0.03, 0.1, 0.3, 0.5)),
    *(
        dataclasses.replace(VARIANTS["all combined"], dropout=dropout, label_smoothing=smoothing)
        for dropout in (0.1, 0.25, 0.5)
        for smoothing in (0.03, 0.1)
    ),
]


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """The networks have the seeds networks * seed, networks * seed + 1, ...: of their images and all else random."""
    epochs: int = 30
    batch_size: int = 50
    learning_rate: float = 1e-3
    networks: PositiveInt = 8
    """Networks of each variant, trained at once."""
    per_class: PositiveInt = 100
    """Training images of each digit for each network, and as many for validation."""
    search: bool = False
    """Instead of the study, print the validation accuracy of other strengths; leaves no run folder."""


SMOKE = {"networks": 2, "per_class": 10, "epochs": 2}


class Kept(NamedTuple):
    """The network of the smallest validation loss so far, and its epoch."""

    params: Any
    state: Any
    loss: Any
    epoch: Any


def keep_better(kept: Kept, new: Kept) -> Kept:
    """Early stopping as a pure function: under `jax.vmap`, each network keeps its own best epoch."""
    better = new.loss < kept.loss
    return Kept(*jax.tree.map(lambda old, leaf: jnp.where(better, leaf, old), kept, new))


def network(variant: Variant) -> Model:
    """The perceptron, for images `[batch, 28, 28, 1]`."""
    model = mlp(MLPConfig(SIZES, dropout_rate=variant.dropout, norm=variant.batch_norm))

    def apply(params: Any, state: Any, images: Any, *, key: Any = None, train: bool) -> Any:
        return model.apply(params, state, images.reshape(len(images), -1), key=key, train=train)

    return model._replace(apply=apply)


def make_optimizer(variant: Variant, learning_rate: float) -> optax.GradientTransformation:
    """Adam, with the decoupled decay of the variant."""
    return optax.adamw(learning_rate, weight_decay=variant.decoupled_decay, mask=regularizers.decay_mask)


def training_loss(variant: Variant) -> training.Loss:
    """What the variant minimizes: mean of cross-entropy - b H(p), + c |W|^2, on augmented images if it says so."""
    model = network(variant)

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        images, labels = batch
        logits, state = model.apply(params, state, images, key=key, train=train)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, DIGITS), variant.label_smoothing)
        values = losses.cross_entropy(logits, targets)
        values += variant.entropy_penalty * regularizers.confidence_penalty(logits)
        return jnp.mean(values) + variant.l2 * regularizers.weight_decay(params), (state, {})

    return augment.augmented(loss, AUGMENTATION) if variant.augmentation else loss


def evaluation(variant: Variant) -> Any:
    """Cross-entropy and accuracy, without regularization, so that all variants compare."""
    loss = training.supervised(network(variant), losses.cross_entropy, {"accuracy": metrics.accuracy})
    return training.make_evaluate(loss, batch_size=1000)


def train_network(
    config: Config, variant: Variant, initial: training.TrainState, data: dict[str, Split]
) -> tuple[training.TrainState, Kept, Any]:
    """Train one network, all epochs in one scan.

    Returns the last train state, what early stopping keeps, and the metrics `[epochs]` of training and validation.
    """
    step = training.make_step(training_loss(variant), make_optimizer(variant, config.learning_rate))
    steps = training.steps_per_epoch(len(data["train"][0]), config.batch_size)
    run_epoch, evaluate = training.scan_data(step, steps=steps, batch_size=config.batch_size), evaluation(variant)

    def one_epoch(carry: tuple[training.TrainState, Kept], epoch: Any) -> Any:
        train_state, kept = carry
        train_state, _ = run_epoch(train_state, data["train"])
        measured = {split: metrics.compute(evaluate(train_state, data[split])) for split in data}
        new = Kept(train_state.params, train_state.state, measured["validation"]["loss"], epoch)
        return (train_state, keep_better(kept, new)), measured

    kept = Kept(initial.params, initial.state, jnp.float32(jnp.inf), jnp.int32(0))
    epochs = jnp.arange(1, config.epochs + 1, dtype=jnp.int32)
    (last, kept), curves = jax.lax.scan(one_epoch, (initial, kept), epochs)
    return last, kept, curves


# Functions of the module, so that their programs are compiled once in a process: the variants without batch norm and
# augmentation share one.
@functools.partial(jax.jit, static_argnums=0)
def initialize(variant: Variant, seeds: Any) -> training.TrainState:
    """New networks, one for each seed, stacked."""
    return jax.vmap(lambda seed: training.init_train_state(network(variant), make_optimizer(variant, 0.0), seed))(seeds)


@functools.partial(jax.jit, static_argnums=0)
def train_networks(config: Config, variant: Variant, initial: training.TrainState, data: dict[str, Split]) -> Any:
    """What `train_network` returns, for all networks at once."""
    return jax.vmap(functools.partial(train_network, config, variant))(initial, data)


@jax.jit
def measure_networks(
    variant: Variant, trained: training.TrainState, own: Split, test: Split
) -> dict[str, dict[str, Any]]:
    """Loss and accuracy `[networks]` on each network's own training images and on the test images."""
    evaluate = evaluation(variant)
    measured = jax.vmap(evaluate)(trained, own), jax.vmap(evaluate, in_axes=(0, None))(trained, test)
    return {split: metrics.compute(values) for split, values in zip(("train", "test"), measured, strict=True)}


def draw(images_and_labels: Split, per_class: int, seed: int) -> dict[str, Split]:
    """Draw the training and validation images of one network, as many of each digit in both."""
    images, labels = images_and_labels
    generator = np.random.default_rng(seed)
    of_digits = [generator.permutation(np.flatnonzero(labels == digit))[: 2 * per_class] for digit in range(DIGITS)]
    halves = zip(*(np.split(rows, 2) for rows in of_digits), strict=True)
    chosen = dict(zip(("train", "validation"), (np.concatenate(half) for half in halves), strict=True))
    return {split: (images[rows], labels[rows]) for split, rows in chosen.items()}


def load(config: Config) -> tuple[np.ndarray, dict[str, Split], Split]:
    """The seeds of the networks, their images, stacked, and the test images."""
    data = random_images((28, 28, 1), tuple("0123456789"), 600) if config.smoke else mnist(validation=0)
    seeds = consecutive_seeds(config.networks * config.seed, config.networks)
    return seeds, stack([draw(data.train, config.per_class, int(seed)) for seed in seeds]), data.test


def train_variant(config: Config, variant: Variant, seeds: np.ndarray, data: dict[str, Split]) -> tuple[Any, float]:
    """Train the networks of a variant; returns what `train_networks` does, and the seconds of compilation."""
    settings = dataclasses.replace(config, seed=0, out=None)  # which are not part of the program
    initial = initialize(Variant(batch_norm=variant.batch_norm), seeds)
    started = time.perf_counter()
    compiled = train_networks.lower(settings, variant, initial, data).compile()
    seconds = time.perf_counter() - started
    return compiled(variant, initial, data), seconds


def summarize(measured: dict[str, Any], without: dict[str, Any], epochs: np.ndarray) -> dict[str, float]:
    """Means and deviations over the networks, and their gain over those without regularization."""
    accuracy, loss = (np.asarray(measured["test"][name], np.float64) for name in ("accuracy", "loss"))
    trained = np.asarray(measured["train"]["accuracy"], np.float64)
    return {
        "test_accuracy": accuracy.mean(),
        "test_accuracy_sd": accuracy.std(ddof=1),
        "test_loss": loss.mean(),
        "test_loss_sd": loss.std(ddof=1),
        "train_accuracy": trained.mean(),
        "gap": (trained - accuracy).mean(),
        "gain": (accuracy - np.asarray(without["test"]["accuracy"])).mean(),
        "epoch": epochs.mean(),
    }


def search(config: Config) -> Result:
    """Print validation accuracy and loss of all `CANDIDATES`, after the last epoch or that of early stopping."""
    seeds, data, _ = load(config)
    found: dict[str, Any] = {}
    for variant in CANDIDATES:
        with working(f"training {len(seeds)} networks, {len(found) + 1} of {len(CANDIDATES)}"):
            (_, kept, curves), _ = train_variant(config, variant, seeds, data)
        places = np.arange(len(seeds)), np.asarray(kept.epoch) - 1 if variant.early_stopping else -1
        numbers = {name: np.asarray(values)[places].mean() for name, values in curves["validation"].items()}
        strengths = ", ".join(f"{field} {value}" for field, value in dataclasses.asdict(variant).items() if value)
        print(f"validation accuracy {numbers['accuracy']:.4f}  loss {numbers['loss']:.4f}  {strengths}", flush=True)
        found[strengths] = numbers
    return found


def study(config: Config, folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any], float]:
    """Train, measure and record all variants; returns summaries and parameters by name, and seconds of compilation."""
    seeds, data, test = load(config)
    trained: dict[Variant, Any] = {}
    without: dict[str, Any] = {}
    summaries, params, compile_seconds = {}, {}, 0.0
    print(f"{'':16}  test accuracy      test loss          training  gap     gain     epoch")
    for name, variant in VARIANTS.items():
        program = dataclasses.replace(variant, early_stopping=False)
        if program not in trained:  # early stopping alone trains what no regularization does
            with working(f"training {len(seeds)} networks: {name}"):
                trained[program], seconds = train_variant(config, program, seeds, data)
            compile_seconds += seconds
            record_curves(folder, config, name, trained[program][2])
        last, kept, _ = trained[program]
        chosen = last._replace(params=kept.params, state=kept.state) if variant.early_stopping else last
        measured = measure_networks(Variant(batch_norm=variant.batch_norm), chosen, data["train"], test)
        without = without or measured
        epochs = np.asarray(kept.epoch) if variant.early_stopping else np.full(len(seeds), config.epochs)
        summaries[name], params[name] = summarize(measured, without, epochs), chosen.params
        numbers = summaries[name]
        row = {"variant": name, "loss": numbers["test_loss"], "accuracy": numbers["test_accuracy"], "epochs": epochs}
        row |= {"accuracies": measured["test"]["accuracy"]}
        folder.append_metrics(step=int(last.step[0]), epoch=float(config.epochs), split="test", metrics=row)
        print(LINE.format(name, **numbers), flush=True)
    return summaries, params, compile_seconds


def record_curves(folder: RunFolder, config: Config, name: str, curves: Any) -> None:
    """Append the metrics of every epoch, means over the networks, and the loss of each network, to `metrics.jsonl`."""
    steps = training.steps_per_epoch(DIGITS * config.per_class, config.batch_size)
    for epoch in range(1, config.epochs + 1):
        for split, values in curves.items():
            loss, accuracy = (np.asarray(values[metric])[:, epoch - 1] for metric in ("loss", "accuracy"))
            row = {"variant": name, "loss": loss.mean(), "accuracy": accuracy.mean(), "losses": loss}
            folder.append_metrics(step=epoch * steps, epoch=epoch, split=split, metrics=row)


@in_run_folder(smoke=SMOKE)
def run_study(config: Config, folder: RunFolder) -> Findings:
    """Train, measure and draw all variants."""
    summaries, params, compile_seconds = study(config, folder)

    def draw() -> None:
        rows = folder.read_metrics()
        plot_study(rows, folder.path / "regularization.png")
        curves = [
            {"epoch": row["epoch"], "split": row["split"], f"loss, {row['variant']}": row["loss"]}
            for row in rows
            if row["split"] != "test"
        ]
        plot_curves(curves, folder.path / "curves.png")

    return Findings(summaries, params, compile_seconds, draw=draw)


def run(config: Config) -> Result:
    """Run the study, or search for the strengths."""
    return search(with_presets(config, {"smoke": SMOKE})) if config.search else run_study(config)


if __name__ == "__main__":
    main(Config, run, __doc__)
