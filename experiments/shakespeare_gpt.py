"""nanoGPT's character model for a CPU, 4 blocks of 128 features and a context of 64, on Shakespeare.

`--size reference` is its larger one, 6 blocks of 384 features and a context of 256, for an accelerator: 5,002 steps of
64 windows. Its page gives 1.4697 as the least validation loss; here it is 1.479, at step 1,586, and 1.985 at the end,
when the network knows the text by heart (seed 0, one NVIDIA H100, jax 0.11.2, 4.5 min and 2 to compile, beside others).

expected:  validation loss, in nats per character, 1.854 +- 0.010 (mean and deviation over the seeds 0 to 2; 1.842 with
           seed 0) after 1,307 steps; nanoGPT's page gives 1.88 after 2,000
time:      65 s
compile:   8.9 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.shakespeare_gpt --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import optax

from experiments.support import text
from jaxnets.config import PositiveInt
from jaxnets.decode import Sampling
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.models import GPTConfig, generate_tokens, gpt
from jaxnets.regularizers import decay_mask
from jaxnets.report import RunFolder
from jaxnets.training import TrainState, steps_per_epoch


@dataclasses.dataclass(frozen=True)
class Config(text.TextSettings):
    """Settings of the experiment; the windows are as long as the context."""

    size: Literal["small", "reference"] = "small"
    """The network and schedule below, or the larger ones of nanoGPT instead, for an accelerator."""
    layers: PositiveInt = 4
    """How many blocks."""
    heads: PositiveInt = 4
    """Of attention."""
    features: PositiveInt = 128
    """Of a character within the network."""
    epochs: int = 1
    """How often the network sees the text; one epoch is 1,307 steps."""
    batch_size: int = 12
    length: PositiveInt = 64
    learning_rate: float = 4e-3
    """Adam's learning rate after 100 steps of warm-up; it falls to a tenth along a cosine."""
    weight_decay: float = 0.1
    """Of kernels and embeddings, beside the loss."""

    @property
    def reference(self) -> bool:
        """Whether the settings of the larger network apply."""
        return self.size == "reference"


REFERENCE = {
    "layers": 6,
    "heads": 6,
    "features": 384,
    "length": 256,
    "dropout_rate": 0.2,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "epochs": 82,
}
SMOKE = {"epochs": 1, "batch_size": 4, "length": 32, "features": 24, "layers": 1}


def make_optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """AdamW with warm-up, clipped to norm 1."""
    warm_up = min(100, steps // 10)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, warm_up, steps, end_value=config.learning_rate / 10
    )
    adamw = optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=config.weight_decay, mask=decay_mask)
    return optax.chain(optax.clip_by_global_norm(1.0), adamw)


@in_run_folder(reference=REFERENCE, smoke=SMOKE)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, draw, and write a sample."""
    data = text.load(config, validation_length=config.length)
    network = GPTConfig(
        vocabulary=len(data.text.vocabulary.characters),
        context=config.length,
        layers=config.layers,
        heads=config.heads,
        features=config.features,
        bias=False,
        activation="gelu_exact",
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.dropout_rate,
    )
    optimizer = make_optimizer(config, config.epochs * steps_per_epoch(len(data.train), config.batch_size))

    def generate(last: TrainState, prompt: Any, key: Any) -> Any:
        sampling = Sampling(temperature=config.temperature)
        return generate_tokens(network, last.params, prompt, text.SAMPLE_LENGTH, sampling=sampling, key=key).ids

    return text.train_on_text(config, folder, gpt(network), optimizer, data, generate, evaluation_batch_size=64)


if __name__ == "__main__":
    main(Config, run, __doc__)
