"""Multi30k with a Transformer, German to English or, with --direction en-de, English to German; words in lower case.

--size reference has the published sizes and schedules, for an accelerator, and has not been measured: from German, the
network of bentrevett's tutorial on PyTorch (3 + 3 blocks, 256 features, words that occur twice, 10 epochs); from
English, Transformer-Tiny of Wu et al. 2021 (4 + 4 blocks, 128 features, 10,000 subwords for both languages, 70 epochs),
evaluated with a moving average of the parameters in the place of the mean of the last ten checkpoints. --size small
has 2 + 2 blocks of 128 features, words that occur five times or 4,000 subwords, and a schedule of four epochs.

expected:  BLEU on test_2016: with --direction de-en 33.4 greedy, 35.0 with 5 beams (mean of three seeds; published is
           36.5, greedy), with --direction en-de 30.7 and 32.3 (the same; published is 41.0, 5 beams)
time:      10 and 14 min
compile:   53 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon beside other work, jax 0.10.2
command:   python -m experiments.translate_transformer --seed 0 --direction de-en
"""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments.support.translation import (
    LONGEST,
    Direction,
    Network,
    Recipe,
    Task,
    TranslationSettings,
    draw_curves,
    load_task,
    train_and_test,
)
from jaxnets import models
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.report import RunFolder

CONTEXT = 128
"""How many positions the network has: more than the longest sentence has tokens."""


@dataclasses.dataclass(frozen=True)
class Config(TranslationSettings):
    """Settings of the experiment."""

    direction: Direction = "de-en"
    """From German to English words, or from English to German in subwords."""


NETWORKS: dict[str, dict[str, Any]] = {
    "de-en reference": {"layers": 3, "features": 256, "hidden": 512, "heads": 8, "tied": False, "norm_first": False},
    "de-en small": {"layers": 2, "features": 128, "hidden": 256, "heads": 4},
    "en-de reference": {"layers": 4, "features": 128, "hidden": 256, "heads": 4, "dropout_rate": 0.3},
    "en-de small": {"layers": 2, "features": 128, "hidden": 256, "heads": 4},
    "smoke": {"layers": 1, "features": 8, "hidden": 8, "heads": 2},
}
RECIPES = {
    "de-en reference": Recipe(10, 2_048, 5e-4, schedule="constant"),
    "de-en small": Recipe(4, 1_024, 2e-3, 400, minimum_count=5),
    "en-de reference": Recipe(
        70, 4_096, 5e-3, 2_000, "inverse_sqrt", beta2=0.98, label_smoothing=0.1, average=0.999, subwords=10_000
    ),
    "en-de small": Recipe(4, 1_024, 3e-3, 400, beta2=0.98, label_smoothing=0.1, average=0.99, subwords=4_000),
    "smoke": Recipe(1, 64, 1e-3, 1, average=0.9),
}


def make_network(name: str, task: Task) -> Network:
    """The network of a direction and size; where the languages share subwords, they share embeddings too."""
    settings = models.TransformerConfig(
        task.source.size, task.target.size, context=CONTEXT, shared=task.source is task.target, **NETWORKS[name]
    )
    return Network(
        models.transformer(settings),
        lambda params, source: models.transformer_carry(settings, params, source, capacity=LONGEST),
        lambda params: models.transformer_step(settings, params),
    )


@in_run_folder()
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, translate the test sentences, and draw the curves."""
    name = "smoke" if config.smoke else f"{config.direction} {config.size}"
    task = load_task(config.direction, RECIPES[name], seed=config.seed, smoke=config.smoke)
    found = train_and_test(config, RECIPES[name], folder, task, make_network(name, task))
    return found._replace(draw=lambda: draw_curves(folder))


if __name__ == "__main__":
    main(Config, run, __doc__)
