"""German sentences of Multi30k to English by GRUs with additive attention: one reads in both directions, one writes.

Words in lower case. --size reference is the network of bentrevett's tutorial on PyTorch (words that occur twice,
embeddings of 256, 512 units, dropout 0.5, Adam 0.001, 10 epochs), but in training it always reads the right word; the
tutorial's reads its own at every other one. It is for an accelerator and has not been measured. --size small has a
quarter of the units, words that occur five times, and a schedule of four epochs.

expected:  BLEU on test_2016 35.0 greedy, 36.9 with 5 beams (mean of three seeds); the tutorial has 28.3, greedy
time:      19 min
compile:   42 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon beside other work, jax 0.10.2
command:   python -m experiments.translate_rnn --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.support.translation import (
    Network,
    Recipe,
    Task,
    Texts,
    TranslationSettings,
    draw_curves,
    encode_pairs,
    load_task,
    train_and_test,
    translate,
)
from experiments.support.translation_figures import plot_attention
from jaxnets import models
from jaxnets.data import pad_sequences
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(TranslationSettings):
    """Settings of the experiment."""


NETWORKS: dict[str, dict[str, Any]] = {
    "reference": {"embedding": 256, "hidden": 512, "dropout_rate": 0.5},
    "small": {"embedding": 128, "hidden": 128, "dropout_rate": 0.2},
    "smoke": {"embedding": 8, "hidden": 8},
}
RECIPES = {
    "reference": Recipe(10, 2_048, 1e-3, schedule="constant"),
    "small": Recipe(4, 1_024, 3e-3, 200, minimum_count=5),
    "smoke": Recipe(1, 64, 1e-3),
}


def make_network(size: str, task: Task) -> Network:
    """The network of a size."""
    settings = models.Seq2SeqConfig(task.source.size, task.target.size, cell="gru", **NETWORKS[size])
    return Network(
        models.seq2seq(settings),
        lambda params, source: models.seq2seq_carry(settings, params, source),
        lambda params: models.seq2seq_step(settings, params),
    )


def draw_attention(folder: RunFolder, network: Network, params: Any, task: Task) -> None:
    """Draw where the network looks as it translates four sentences of the test."""
    source = sorted(task.texts["test_2016"].source, key=lambda text: abs(len(text.split()) - 10))[:4]
    shown = Texts(source, translate(network, params, task, source))
    ids = encode_pairs(shown, task.source, task.target)
    padded = [jnp.asarray(pad_sequences(side, max(map(len, side)))[0]) for side in ids.values()]
    inputs = models.SourceTarget(padded[0], padded[1][:, :-1])
    weights = jax.jit(models.seq2seq_attention, static_argnums=0)(network.model.config, params, inputs)
    plot_attention(np.asarray(weights), shown, folder.path / "attention.png")


@in_run_folder()
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, translate the test sentences, and draw the curves and the weights of attention."""
    size = "smoke" if config.smoke else config.size
    task = load_task("de-en", RECIPES[size], seed=config.seed, smoke=config.smoke)
    network = make_network(size, task)
    found = train_and_test(config, RECIPES[size], folder, task, network)

    def draw_all() -> None:
        draw_curves(folder)
        draw_attention(folder, network, found.params, task)

    return found._replace(draw=draw_all)


if __name__ == "__main__":
    main(Config, run, __doc__)
