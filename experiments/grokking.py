"""Grokking: a Transformer of one layer learns a + b modulo a prime by heart, and much later by a rule.

The network sees some of all pairs, in every step all of them, and AdamW pulls its weights toward zero. It soon knows
the pairs it is shown and fails on all others, until its embedding becomes a few waves over the numbers, with which
it adds angles (Nanda et al. 2023). `--size reference` has the settings of that paper.

expected:  training accuracy 1 from epoch 200 on; test accuracy 0.99 in epoch 6,400, 3,400 and 1,800 with the seeds 0, 1
           and 2, at the end 1; five frequencies hold 0.98 to 0.99 of the embedding, at first 0.20 to 0.22. --size
           reference (one run, seed 0, on a GPU): 0.99 in epoch 200 and 6,500, at the end 1, five frequencies 0.99
time:      2.5 to 3.5 min of processor time; --size reference 1.5 min on a GPU that is shared
compile:   8.5 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon, jax 0.10.2; --size reference on an NVIDIA H100, jax 0.11.2
command:   python -m experiments.grokking --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support.grokking_figures import plot_grokking
from experiments.support.many import stack
from jaxnets import make_model, metrics, nn, summary, training
from jaxnets.data import Split
from jaxnets.experiment import Findings, Settings, in_run_folder, main, show_summary
from jaxnets.model import Model
from jaxnets.report import RunFolder

HEADS = 4
KNOWN = 0.99
"""The accuracy from which a split counts as known."""
STRONGEST = 5
"""How many frequencies are added up."""


class Size(NamedTuple):
    """The numbers and the network.

    Attributes:
        prime: the numbers are 0 to prime - 1.
        share: of all pairs, to train on.
        features: of a token within the network.
        hidden: size of the hidden layer.
        epochs: steps, each of which sees all training pairs.
        every: after so many of them it is measured.
    """

    prime: int
    share: float
    features: int
    hidden: int
    epochs: int
    every: int


SIZES = {
    "tiny": Size(7, 0.5, 8, 16, epochs=20, every=5),
    "small": Size(59, 0.5, 64, 256, epochs=12_000, every=50),
    "reference": Size(113, 0.3, 128, 512, epochs=40_000, every=100),
}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the choice of the training pairs and the initial values."""
    size: Literal["tiny", "small", "reference"] = "small"
    """Of the prime and the network; reference is the paper's, which takes an hour on a CPU."""
    learning_rate: float = 1e-3
    """AdamW's, after ten steps of warm-up."""
    weight_decay: float = 1.0
    """What a step takes off each weight, in units of learning rate times weight; by it a rule is better than a list."""


def network(size: Size) -> Model:
    """Embeddings, one attention and one perceptron with shortcuts and without norms, and logits at the equals sign.

    The third token, =, attends to all three; what the first two attend to could reach no result, and is left out.
    """
    features, init = size.features, nn.embedding_spec
    spec = {
        "tokens": init(size.prime + 1, features),
        "positions": init(3, features),
        "attention": nn.attention_spec(features, heads=HEADS, bias=False),
        "linear1": nn.linear_spec(features, size.hidden),
        "linear2": nn.linear_spec(size.hidden, features),
        "out": nn.linear_spec(features, size.prime, bias=False),
    }

    def apply(params: Any, state: Any, pairs: Any, *, key: Any = None, train: bool) -> Any:
        tokens = jnp.pad(pairs, ((0, 0), (0, 1)), constant_values=size.prime)
        x = nn.embedding(params["tokens"], tokens) + params["positions"]["embedding"][None]
        last = x[:, -1:]
        last = last + nn.attention(params["attention"], last, x)
        last = last + nn.linear(params["linear2"], jax.nn.relu(nn.linear(params["linear1"], last)))
        return nn.linear(params["out"], last[:, 0]), state

    return make_model(spec, apply)


def sums(size: Size, seed: int) -> tuple[Split, Split]:
    """All pairs `[pairs, 2]` and their sums `[pairs]` modulo the prime: those to train on, and those held out."""
    pairs = np.array(list(np.ndindex(size.prime, size.prime)), np.int32)
    pairs = np.random.default_rng(seed).permutation(pairs)
    labels = pairs.sum(axis=1, dtype=np.int32) % size.prime
    known = round(size.share * len(pairs))
    return (pairs[:known], labels[:known]), (pairs[known:], labels[known:])


def mirrored(train: Split, test: Split) -> float:
    """The share of pairs (a, b) held out whose mirror (b, a), of the same sum, is trained on."""
    known = {tuple(pair) for pair in train[0].tolist()}
    return float(np.mean([(b, a) in known for a, b in test[0].tolist()]))


def precise_cross_entropy(logits: Any, labels: Any) -> Any:
    """-log p of each label `[pairs]`, as log(1 + the odds against it).

    The usual form, and its gradient, are differences of numbers near 1, so that float32 loses what is below 1e-7; the
    loss here is often smaller.
    """
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    against = jax.nn.logsumexp(jnp.where(is_label, -jnp.inf, logits), axis=-1)
    return jax.nn.softplus(against - jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0])


def frequencies(table: Any) -> Any:
    """The share of each frequency 1, 2, ... in the rows of numbers 0 to prime - 1, `[(prime - 1) / 2]`.

    The rows are a periodic sequence of vectors; frequency k is its waves of k periods, over all features.
    """
    power = jnp.sum(jnp.abs(jnp.fft.rfft(table, axis=0)) ** 2, axis=1)[1:]
    return power / jnp.sum(power)


def make_program(config: Config, size: Size, model: Model) -> tuple[Any, optax.GradientTransformation]:
    """The compiled program that takes some steps and measures, and the optimizer.

    `program(train_state, train, test) -> (train_state, {"train": ..., "test": ..., "frequencies": ...})`.
    """
    rate = optax.linear_schedule(config.learning_rate / 10, config.learning_rate, 10)
    optimizer = optax.adamw(rate, b1=0.9, b2=0.98, weight_decay=config.weight_decay)
    loss = training.supervised(model, precise_cross_entropy, {"accuracy": metrics.accuracy})
    step, evaluate = training.make_step(loss, optimizer), training.make_evaluate(loss)

    def some_steps(train_state: training.TrainState, train: Split, test: Split) -> Any:
        train_state, _ = jax.lax.scan(lambda carry, _: step(carry, train), train_state, length=size.every)
        measured = {
            name: metrics.compute(evaluate(train_state, split)) for name, split in (("train", train), ("test", test))
        }
        table = train_state.params["tokens"]["embedding"][: size.prime]
        return train_state, measured | {"frequencies": frequencies(table)}

    return training.compile_step(some_steps), optimizer


def first_known(epochs: np.ndarray, accuracies: np.ndarray) -> float:
    """The first measured epoch in which a split counts as known; infinite if there is none."""
    known = np.flatnonzero(accuracies >= KNOWN)
    return float(epochs[known[0]]) if len(known) else float("inf")


def strongest(shares: np.ndarray) -> float:
    """The sum of the `STRONGEST` largest shares."""
    return float(np.sort(shares)[-STRONGEST:].sum())


def train_and_measure(config: Config, folder: RunFolder, size: Size) -> tuple[training.TrainState, Any]:
    """Train, and record what is measured on the way; returns the last train state and the curves `[times, ...]`."""
    train, test = sums(size, config.seed)
    model = network(size)
    show_summary(folder, summary(model, train[0]))
    program, optimizer = make_program(config, size, model)
    train_state = training.init_train_state(model, optimizer, config.seed)
    rows = []
    for epoch in measured_epochs(size):
        train_state, measured = program(train_state, train, test)
        rows.append(jax.tree.map(np.asarray, measured))
        said = []
        for split in ("train", "test"):
            numbers = {name: float(value) for name, value in rows[-1][split].items()}
            folder.append_metrics(step=int(epoch), epoch=int(epoch), split=split, metrics=numbers)
            said.append(f"{split} accuracy {numbers['accuracy']:.4f}, loss {numbers['loss']:.3g}")
        print(f"epoch {epoch:,}: {'; '.join(said)}", flush=True)
    return train_state, stack(rows)


def measured_epochs(size: Size) -> np.ndarray:
    """The epochs after which the network is measured."""
    return np.arange(size.every, size.epochs + 1, size.every)


def summarize(size: Size, curves: Any) -> dict[str, Any]:
    """The last measurement of both splits, when each became known, and how much few frequencies hold."""
    epochs = measured_epochs(size)
    last = {split: {name: float(value[-1]) for name, value in curves[split].items()} for split in ("train", "test")}
    return last | {
        "epoch of 99%": {split: first_known(epochs, curves[split]["accuracy"]) for split in last},
        f"share of {STRONGEST} frequencies": {
            "first": strongest(curves["frequencies"][0]),
            "last": strongest(curves["frequencies"][-1]),
        },
    }


@in_run_folder(smoke={"size": "tiny"})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, measure, and draw."""
    size = SIZES[config.size]
    train_state, curves = train_and_measure(config, folder, size)
    found = summarize(size, curves)
    for name, numbers in found.items():
        print(f"{name}: {', '.join(f'{key} {value:.4g}' for key, value in numbers.items())}")
    known = mirrored(*sums(size, config.seed))

    def draw() -> None:
        plot_grokking(measured_epochs(size), curves, known, folder.path / "curves.png")

    return Findings(found | {"held out": {"mirrored": known}}, train_state.params, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
