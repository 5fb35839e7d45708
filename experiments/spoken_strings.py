"""Read strings of spoken digits: an LSTM in each direction, trained by CTC, which is not told when a digit is said.

Three to seven recordings of one speaker of the Free Spoken Digit Dataset are joined with pauses of 0 to 0.2 s. Strings
for training are made of the recordings for training only, those for testing of the official test takes only (of each
speaker and digit the first five), so the speakers are known. Two convolutions come before the LSTM. Every 64 ms the
network says a digit or nothing; the likeliest of each time, repetitions joined, are the string.

expected:  digit error rate 0.0020, 0.0021 and 0.0012 (edit distance per digit), 496, 495 and 497 of 500 strings fully
           right with the seeds 0, 1 and 2
time:      5 min of processor time
compile:   21 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon, jax 0.10.2
command:   python -m experiments.spoken_strings --seed 0
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support.digit_sounds import BANDS, DIGITS
from experiments.support.digit_strings import Strings, draw_strings, hums, split_recordings
from experiments.support.digit_strings_figures import plot_alignments
from jaxnets import audio, make_model, metrics, nn, subkey, summary
from jaxnets.config import PositiveInt
from jaxnets.ctc import ctc_greedy, ctc_loss
from jaxnets.data import augment
from jaxnets.data.fsdd import fsdd_recordings
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, main, show_summary
from jaxnets.model import Model
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import Checkpoints, Loss, fit, init_train_state, make_evaluate, make_step, steps_per_epoch

CHANNELS = (8, 16)
"""Of the convolutions."""
JOINED = 2 ** len(CHANNELS)
"""Frames of 16 ms that pooling makes one of."""
BLANK = 0
"""The class of no digit; digit d is class d + 1."""
EVALUATED = 100
"""Strings that are read at once in evaluation."""


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the strings, the validation recordings, the initial values, the order of the strings and what is hidden."""
    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 4e-3
    """Adam's after warm-up; it falls to zero along a cosine."""
    strings: PositiveInt = 3000
    """To train on."""
    held_out: PositiveInt = 500
    """Strings to validate on, and as many others to test on."""
    hidden: PositiveInt = 96
    """Size of each LSTM."""
    dropout_rate: float = 0.3
    """Before the last layer."""
    hidden_frames: int = 12
    """Frames that are hidden at most, three times in each string."""
    hidden_bands: int = 8
    """Bands that are hidden at most."""


class Sounds(NamedTuple):
    """What the network reads: standardized spectrograms `[strings, frames, bands]`, and how many frames are real."""

    spectrograms: Any
    frames: Any


class Data(NamedTuple):
    """The strings of each split."""

    train: Strings
    validation: Strings
    test: Strings


def load(config: Config) -> Data:
    """Draw the strings; spectrograms have mean 0 and deviation 1 over those for training."""
    recordings = hums() if config.smoke else fsdd_recordings()
    counts = config.strings, config.held_out, config.held_out
    rows = split_recordings(recordings, config.seed)
    seeds = np.random.SeedSequence(config.seed).generate_state(3)
    parts = [
        draw_strings(recordings, own, count, int(seed)) for own, count, seed in zip(rows, counts, seeds, strict=True)
    ]
    mean, deviation = parts[0].sounds.mean(), parts[0].sounds.std()
    return Data(*(part._replace(sounds=(part.sounds - mean) / deviation) for part in parts))


def network(config: Config) -> Model:
    """Convolutions with batch norm, ReLU and max pooling, an LSTM in each direction, and logits at every time.

    The logits are those of no digit and the ten digits, `[strings, frames // JOINED, 11]`.
    """
    sizes = zip((1, *CHANNELS[:-1]), CHANNELS, strict=True)
    blocks = [
        {"conv": nn.conv_spec(before, after, (3, 3), bias=False), "norm": nn.batch_norm_spec(after)}
        for before, after in sizes
    ]
    spec = {
        "blocks": blocks,
        "lstm": nn.bidirectional_spec(nn.lstm_spec(CHANNELS[-1] * (BANDS // JOINED), config.hidden)),
        "out": nn.linear_spec(2 * config.hidden, 1 + DIGITS),
    }

    def apply(params: Any, state: Any, sounds: Sounds, *, key: Any = None, train: bool) -> Any:
        x, norms = sounds.spectrograms[..., None], []
        for block, old in zip(params["blocks"], state["blocks"], strict=True):
            x, norm = nn.batch_norm(block["norm"], old["norm"], nn.conv(block["conv"], x), train=train)
            x = nn.max_pool(jax.nn.relu(x), (2, 2))
            norms.append({"norm": norm})
        x = x.reshape((*x.shape[:2], -1))
        x, _ = nn.bidirectional(nn.lstm, params["lstm"], x, mask=nn.sequence_mask(times(sounds.frames), x.shape[1]))
        x = nn.dropout(x, config.dropout_rate, key=subkey(key, "dropout"), train=train)
        return nn.linear(params["out"], x), {**state, "blocks": norms}

    return make_model(spec, apply)


def times(frames: Any) -> Any:
    """How often the network says something about so many frames."""
    return frames // JOINED


def string_loss(config: Config, model: Model) -> Loss:
    """Negative log-likelihood of a string, in nats; in training spans of frames and bands are hidden."""
    hide = augment.chain(
        functools.partial(audio.mask_times, width=config.hidden_frames, count=3),
        functools.partial(audio.mask_frequencies, width=config.hidden_bands),
    )

    def loss(params: Any, state: Any, batch: Strings, *, key: Any, train: bool) -> Any:
        sounds = hide(batch.sounds, key=subkey(key, "hide")) if train else batch.sounds
        logits, state = model.apply(params, state, Sounds(sounds, batch.frames), key=key, train=train)
        values = ctc_loss(
            logits, batch.digits + 1, logit_lengths=times(batch.frames), label_lengths=batch.lengths, blank=BLANK
        )
        return jnp.mean(values), (state, {"loss": metrics.mean(values)})

    return loss


def read(model: Model, params: Any, state: Any, strings: Strings) -> tuple[list[str], np.ndarray]:
    """The strings that the network reads, and its probabilities `[strings, times, 1 + digits]`."""

    @jax.jit
    def some(params: Any, state: Any, sounds: Sounds) -> Any:
        logits, _ = model.apply(params, state, sounds, train=False)
        return ctc_greedy(logits, logit_lengths=times(sounds.frames), blank=BLANK), jax.nn.softmax(logits)

    texts, probabilities = [], []
    for first in range(0, len(strings.frames), EVALUATED):
        rows = slice(first, first + EVALUATED)
        (labels, lengths), found = some(params, state, Sounds(strings.sounds[rows], strings.frames[rows]))
        texts += as_texts(np.asarray(labels) - 1, np.asarray(lengths))
        probabilities.append(np.asarray(found))
    return texts, np.concatenate(probabilities)


def as_texts(digits: np.ndarray, lengths: np.ndarray) -> list[str]:
    """Rows of digits as texts."""
    return ["".join(map(str, row[:length])) for row, length in zip(digits, lengths, strict=True)]


def score(found: list[str], right: list[str]) -> dict[str, float]:
    """Digit error rate, the edit distances per digit, and the share of strings without a mistake."""
    return {
        "digit_error_rate": metrics.character_error_rate(found, right),
        "exact_match": float(np.mean([a == b for a, b in zip(found, right, strict=True)])),
    }


def write_mistakes(found: list[str], right: list[str], folder: RunFolder) -> None:
    """Write the strings that are read wrong into `mistakes.txt`."""
    lines = [f"{a:8} where {b} is right" for a, b in zip(found, right, strict=True) if a != b]
    text = "\n".join([f"{len(lines)} of {len(right)} strings are read wrong", *lines]) + "\n"
    (folder.path / "mistakes.txt").write_text(text, encoding="utf-8")


@in_run_folder(smoke={"epochs": 1, "batch_size": 4, "strings": 8, "held_out": 4, "hidden": 8})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, read the test strings, and draw."""
    data = load(config)
    model = network(config)
    loss = string_loss(config, model)
    show_summary(folder, summary(model, Sounds(*data.train[:2])))
    steps = config.epochs * steps_per_epoch(config.strings, config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        make_step(loss, optimizer),
        data.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=make_evaluate(loss, batch_size=EVALUATED),
        validation=data.validation,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    params, state = trained.train_state.params, trained.train_state.state
    found, probabilities = read(model, params, state, data.test)
    right = as_texts(data.test.digits, data.test.lengths)
    test = score(found, right)
    folder.append_metrics(step=int(trained.train_state.step), epoch=float(config.epochs), split="test", metrics=test)
    write_mistakes(found, right, folder)
    print(f"digit error rate {test['digit_error_rate']:.4f}, strings fully right {test['exact_match']:.4f}")

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot_alignments(data.test, probabilities, JOINED, folder.path / "alignments.png")

    done = Findings.of_fit(trained, trained.metrics | {"test": test}, params)
    return done._replace(draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
