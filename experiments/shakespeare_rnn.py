"""A recurrent network that writes like Shakespeare, character by character: --cell rnn, lstm or gru.

expected:  validation loss, in nats per character, after 8 epochs over the seeds 0 to 2:
           lstm 1.596 +- 0.005, gru 1.502 +- 0.007, rnn 1.602 +- 0.004
time:      lstm 4 min, gru 3 to 4 min, rnn 80 s
compile:   9.3 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.shakespeare_rnn --seed 0 --cell lstm
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import optax

from experiments.support import text
from jaxnets.config import PositiveInt
from jaxnets.decode import Sampling
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.models import CharRNNConfig, char_rnn, generate_characters
from jaxnets.report import RunFolder
from jaxnets.training import TrainState, load_best, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Config(text.TextSettings):
    """Settings of the experiment; each window begins with a carry of zeros."""

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """The kind of recurrent layer."""
    hidden: PositiveInt = 256
    """Size of the embedding and of the layer."""
    layers: PositiveInt = 1
    """How many recurrent layers."""
    epochs: int = 8
    batch_size: int = 32
    length: PositiveInt = 128
    learning_rate: float = 4e-3
    """Adam's learning rate after warm-up; it falls to zero along a cosine."""


@in_run_folder(smoke={"epochs": 1, "batch_size": 4, "length": 32, "hidden": 16})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, draw, and write a sample."""
    # Windows of the last tenth are four times as long: fewer characters there are predicted from next to nothing.
    data = text.load(config, validation_length=4 * config.length)
    network = CharRNNConfig(
        vocabulary=len(data.text.vocabulary.characters),
        cell=config.cell,
        hidden=config.hidden,
        layers=config.layers,
        dropout_rate=config.dropout_rate,
    )
    steps = config.epochs * steps_per_epoch(len(data.train), config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def generate(last: TrainState, prompt: Any, key: Any) -> Any:
        best = load_best(folder.checkpoints, like=last)
        sampling = Sampling(temperature=config.temperature)
        return generate_characters(network, best.params, prompt, text.SAMPLE_LENGTH, sampling=sampling, key=key).ids

    return text.train_on_text(config, folder, char_rnn(network), optimizer, data, generate, evaluation_batch_size=32)


if __name__ == "__main__":
    main(Config, run, __doc__)
