"""A diffusion model writes the digit that it is asked for: DDPM and DDIM, by steps and by strength of guidance.

expected:  Fréchet distance of 1,000 digits by DDIM in 20 steps, in LeNet's features: 0.713 +- 0.025, by DDPM in 200
           steps 0.590 +- 0.062 (mean and deviation over the seeds 0 to 2; 1,000 real digits have 0.36)
time:      20 to 29 min, of which training takes 12 to 17
compile:   35 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon beside other work, jax 0.10.2
command:   python -m experiments.mnist_diffusion --seed 0
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support import image_distance
from experiments.support.digit_figures import plot_ways
from experiments.support.mnist import load_digits
from jaxnets import diffusion, losses, metrics, models, nn, subkey, summary
from jaxnets.config import PositiveInt
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, main, show_summary
from jaxnets.metrics.frechet import Moments
from jaxnets.model import Model
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
    use_ema,
    with_ema,
)

CLASSES = 10
PATCH = 2
"""Each 2 x 2 pixels are one position with four channels, which makes the network four times as fast."""
SIZE = 28 // PATCH
PREDICTION: diffusion.Prediction = "velocity"
BATCH = 250
"""How many digits are made at a time."""


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the initial values, the order of the images, and all noise."""
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 2e-3
    """Adam's after a short warm-up; it falls to zero along a cosine."""
    ema: float = 0.999
    """Decay of the moving average of the parameters, which makes the digits."""
    features: PositiveInt = 16
    """Channels of the U-Net."""
    multipliers: tuple[int, ...] = (1, 2)
    """Channels of each level, as multiples of `features`; each level but the last halves the image."""
    schedule: PositiveInt = 200
    """Steps of the way to noise."""
    dropped: float = 0.1
    """Share of the training images whose class is kept secret, so that the network can do without."""
    ddim: tuple[int, ...] = (5, 10, 20, 50)
    """In how many steps DDIM is tried."""
    guidance: tuple[float, ...] = (0.0, 2.0, 4.0)
    """Which strengths of guidance are tried beside 1, with DDIM in `guided_steps`."""
    guided_steps: PositiveInt = 20
    samples: PositiveInt = 1_000
    """How many digits are made each way, for the distance."""


def make_model(config: Config) -> Model:
    """The U-Net: by default of two levels, 14 x 14 and 7 x 7 positions, with attention in the middle."""
    return models.diffusion_unet(
        models.DiffusionUNetConfig(
            SIZE,
            PATCH**2,
            classes=CLASSES,
            features=config.features,
            multipliers=config.multipliers,
            blocks=1,
            attention=(),
            groups=4,
            dropout_rate=0.0,
        )
    )


def velocity_loss(config: Config, model: Model) -> Loss:
    """The squared error of the predicted velocity, at random steps and with some of the classes kept secret."""
    shares = diffusion.cosine_schedule(config.schedule)

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        images, labels = batch
        x, count = nn.pixel_unshuffle(2 * images - 1, PATCH), len(images)
        t = jax.random.randint(subkey(key, "t"), (count,), 0, config.schedule)
        noise = jax.random.normal(subkey(key, "noise"), x.shape)
        secret = jax.random.bernoulli(subkey(key, "secret"), config.dropped, (count,))
        told = jnp.where(secret, CLASSES, labels)
        inputs = models.DiffusionInputs(diffusion.add_noise(shares, x, t, noise), t, told)
        predicted, state = model.apply(params, state, inputs, key=key, train=train)
        target = diffusion.training_target(shares, x, t, noise, prediction=PREDICTION)
        values = losses.squared_error(predicted, target)
        return jnp.mean(values), (state, {"loss": metrics.mean(values)})

    return loss


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to make digits."""

    steps: int
    guidance: float = 1.0
    random: bool = False

    def __str__(self) -> str:
        return f"{'DDPM' if self.random else 'DDIM'}, {self.steps} steps, guidance {self.guidance:g}"


def ways_of(config: Config) -> list[Way]:
    """All that are tried."""
    return [
        *(Way(steps) for steps in config.ddim),
        Way(config.schedule, random=True),
        *(Way(config.guided_steps, guidance) for guidance in config.guidance),
    ]


def make_sampler(config: Config, model: Model, way: Way) -> Callable[..., Any]:
    """The compiled function `(params, noise, labels, key) -> digits [batch, 28, 28, 1] in [0, 1]`."""
    shares = diffusion.cosine_schedule(config.schedule)

    def sample(params: Any, noise: Any, labels: Any, key: Any) -> Any:
        def told(labels: Any) -> Callable[[Any, Any], Any]:
            return lambda x, t: model.apply(params, {}, models.DiffusionInputs(x, t, labels), train=False)[0]

        nothing = told(jnp.full_like(labels, CLASSES))
        alone = {0.0: nothing, 1.0: told(labels)}  # needs one run of the network a step
        predict = alone.get(way.guidance) or diffusion.guided(told(labels), nothing, way.guidance)
        settings: dict[str, Any] = {"prediction": PREDICTION, "bounds": (-1.0, 1.0)}
        if way.random:
            x = diffusion.ddpm_sample(predict, shares, noise, key=key, **settings)
        else:
            x = diffusion.ddim_sample(predict, shares, noise, steps=way.steps, **settings)
        return (nn.pixel_shuffle(x, PATCH) + 1) / 2

    return jax.jit(sample)


def make_digits(config: Config, model: Model, params: Any, way: Way) -> tuple[np.ndarray, np.ndarray]:
    """As many digits as the settings say, of all classes in turn, each way from the same noise; and the classes."""
    sample, key = make_sampler(config, model, way), subkey(jax.random.key(config.seed), "samples")
    labels, batch = np.arange(config.samples) % CLASSES, min(BATCH, config.samples)
    digits = []
    for first in range(0, config.samples, batch):
        noise = jax.random.normal(subkey(key, first), (batch, SIZE, SIZE, PATCH**2))
        asked, steps = jnp.asarray(labels[first : first + batch]), subkey(subkey(key, "steps"), first)
        digits.append(sample(params, noise, asked, steps))
    return np.concatenate(digits), labels


def measure(lenet: Any, real: Moments, digits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The distance to real digits, and how many are read as the digit that was asked for."""
    read = image_distance.digits_of(lenet, image_distance.features_of(lenet, jnp.asarray(digits)))
    made = image_distance.moments_of(lenet, digits)
    return {"frechet": image_distance.distance(real, made), "as_asked": float(np.mean(np.asarray(read) == labels))}


def train(config: Config, folder: RunFolder, model: Model, images: Any, labels: Any) -> Any:
    """Train the network; the last images are held out."""
    held_out = len(images) // 30
    loss, steps = (
        velocity_loss(config, model),
        config.epochs * steps_per_epoch(len(images) - held_out, config.batch_size),
    )
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 20, steps)
    optimizer = with_ema(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)), config.ema)
    evaluate = make_evaluate(loss)

    def evaluate_average(train_state: TrainState, data: Any) -> Any:
        return evaluate(use_ema(train_state), data)

    return fit(
        init_train_state(model, optimizer, config.seed),
        make_step(loss, optimizer),
        (images[:-held_out], labels[:-held_out]),
        epochs=config.epochs,
        batch_size=config.batch_size,
        evaluate=evaluate_average,
        validation=(images[-held_out:], labels[-held_out:]),
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints, best=None),
    )


@in_run_folder(
    smoke={
        "epochs": 1,
        "batch_size": 8,
        "features": 4,
        "multipliers": (1,),
        "schedule": 4,
        "ddim": (2,),
        "guidance": (2.0,),
        "guided_steps": 2,
        "samples": 20,
    }
)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, make digits in all ways, measure them, and draw."""
    (images, labels), (held_out, _) = load_digits(config.smoke)
    lenet = image_distance.random_lenet() if config.smoke else image_distance.load_lenet()
    model = make_model(config)
    two = jnp.zeros(2, jnp.int32)
    show_summary(folder, summary(model, models.DiffusionInputs(jnp.zeros((2, SIZE, SIZE, PATCH**2)), two, two)))
    trained = train(config, folder, model, images, labels)
    params = use_ema(trained.train_state).params
    real, found, made = image_distance.moments_of(lenet, held_out), dict(trained.metrics), {}
    few = image_distance.moments_of(lenet, images[: config.samples])
    found["real digits, as many"] = {"frechet": image_distance.distance(real, few)}
    for way in ways_of(config):
        made[way], asked = make_digits(config, model, params, way)
        found[str(way)] = measure(lenet, real, made[way], asked)
        print(way, {name: round(value, 3) for name, value in found[str(way)].items()}, flush=True)
    middle = Way(config.guided_steps)
    numbers: dict[str, float] = found.get(str(middle)) or found[str(ways_of(config)[0])]
    folder.append_metrics(step=int(trained.train_state.step), epoch=float(config.epochs), split="test", metrics=numbers)

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot_ways({str(way): digits[:20] for way, digits in made.items()}, folder.path / "digits.png")

    return Findings.of_fit(trained, found, params, draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
