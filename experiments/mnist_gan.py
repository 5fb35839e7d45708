"""A DCGAN draws digits, and another one, whose discriminator nothing bounds, collapses.

expected:  Fréchet distance to the test digits, in LeNet's features: 3.22 with spectral norm (mean of the seeds 0 to 2
           on one core, from 3.01 to 3.44; 3.06 with seed 0 on two), 98.7 without a norm; real digits have 0.05,
           uniform noise 104
time:      16 min
compile:   17 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an Intel Xeon beside much other work, jax 0.10.2
command:   python -m experiments.mnist_gan --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.support import image_distance
from experiments.support.digit_figures import draw_grid, film, plot_distances, write_film
from experiments.support.mnist import load_digits
from jaxnets import losses, metrics, models, subkey, summary
from jaxnets.config import PositiveInt
from jaxnets.experiment import Findings, Settings, in_run_folder, main, show_summary
from jaxnets.metrics.frechet import FrechetDistance, Moments
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    FitResult,
    Part,
    TrainState,
    alternate,
    alternate_state,
    fit,
    update_statistics,
    use_ema,
    with_ema,
)

SHOWN = 64
"""How many images the animation shows."""
TITLES = {"with": "spectral norm", "without": "no norm, larger steps"}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the initial values, the order of the images, and the noise."""
    epochs: PositiveInt = 4
    """Of the GAN that is to draw digits."""
    batch_size: PositiveInt = 50
    noise: int = 64
    """How many random numbers become a digit."""
    width: PositiveInt = 32
    """Channels of the layers next to the images; see `models.dcgan_generator`."""
    norm: Literal["spectral", "batch", "none"] = "spectral"
    """What bounds the discriminator."""
    learning_rate: float = 1e-3
    """Adam's, of both networks."""
    momentum: float = 0.5
    """Adam's first decay."""
    ema: float = 0.995
    """Decay of the moving average of the generator, which draws what is measured and shown."""
    collapse_epochs: int = 1
    """Of the GAN that is to collapse: the same without a norm in the discriminator; 0 for none."""
    collapse_learning_rate: float = 5e-3
    """Of both of its networks."""
    collapse_momentum: float = 0.9
    samples: PositiveInt = 10_000
    """How many digits to draw for the final distance, and a fifth of them after each epoch."""
    picture_every: PositiveInt = 300
    """Steps between two pictures of the animation; best a divisor of the steps of an epoch."""


def make_models(config: Config) -> dict[str, Any]:
    """Discriminator and generator."""
    size = {"image_size": 28, "channels": 1, "width": config.width}
    return {
        "d": models.dcgan_discriminator(models.DCGANDiscriminatorConfig(**size, norm=config.norm)),
        "g": models.dcgan_generator(models.DCGANGeneratorConfig(**size, noise=config.noise)),
    }


def make_parts(config: Config, networks: dict[str, Any]) -> dict[str, Part]:
    """The two losses, of real images in [0, 1], and their optimizers."""
    generate, discriminate = networks["g"].apply, networks["d"].apply

    def draw(params: Any, state: Any, count: int, key: Any, train: bool) -> Any:
        noise = jax.random.normal(subkey(key, "noise"), (count, config.noise))
        return generate(params["g"], state["g"], noise, train=train)

    def d_loss(params: Any, state: Any, images: Any, *, key: Any, train: bool) -> Any:
        fakes, _ = draw(params, state, len(images), key, train)
        real, d = discriminate(params["d"], state["d"], 2 * images - 1, train=train)
        fake, d = discriminate(params["d"], d, fakes, train=train)
        values = losses.gan_discriminator(real, fake, "hinge")
        seen = {"loss": metrics.mean(values), "real": metrics.mean(real > 0), "fake": metrics.mean(fake < 0)}
        return jnp.mean(values), ({**state, "d": d}, seen)

    def g_loss(params: Any, state: Any, images: Any, *, key: Any, train: bool) -> Any:
        fakes, g = draw(params, state, len(images), key, train)
        scores, _ = discriminate(params["d"], state["d"], fakes, train=train)
        values = losses.gan_generator(scores, "hinge")
        return jnp.mean(values), ({**state, "g": g}, {"loss": metrics.mean(values)})

    adam = optax.adam(config.learning_rate, b1=config.momentum)
    return {"d": Part(d_loss, adam), "g": Part(g_loss, with_ema(adam, config.ema))}


def digits(model: Any, train_state: TrainState, noise: Any) -> Any:
    """Digits in [0, 1] by the averaged generator, whose batch norm takes the statistics of this batch."""
    params = use_ema(train_state).params["g"]
    images, _ = model.apply(params, train_state.state["g"], noise, train=True)
    return (images + 1) / 2


def make_distance(model: Any, lenet: Any, real: Moments, batch_size: int) -> Any:
    """The function `(train_state, noise) -> metrics` that measures digits against real ones."""

    def evaluate(train_state: TrainState, noise: Any) -> Any:
        batches = noise.reshape((-1, batch_size, noise.shape[-1]))

        def features(batch: Any) -> Any:
            return image_distance.features_of(lenet, digits(model, train_state, batch))

        drawn = jax.lax.map(features, batches).reshape((-1, image_distance.FEATURES))
        return {"frechet": FrechetDistance(real, metrics.moments(drawn))}

    return evaluate


def train(config: Config, folder: RunFolder, images: Any, lenet: Any, real: Moments) -> FitResult:
    """Train one GAN and leave its metrics, checkpoints and pictures in a folder."""
    networks = make_models(config)
    parts, noise = make_parts(config, networks), noise_of(config)
    drawn = jax.jit(lambda train_state: digits(networks["g"], train_state, noise[:SHOWN]))
    return fit(
        alternate_state(networks, parts, config.seed),
        alternate(parts),
        images,
        epochs=config.epochs,
        batch_size=config.batch_size,
        steps_per_call=config.picture_every,
        evaluate=make_distance(networks["g"], lenet, real, config.batch_size),
        validation=noise[: max(2 * config.batch_size, config.samples // 5)],
        callbacks=[progress(), record_metrics(folder), film(drawn, folder.path / "frames", config.picture_every)],
        checkpoints=Checkpoints(folder.checkpoints, best=None),
    )


def noise_of(config: Config) -> Any:
    """The same noise for every picture and distance, in whole batches."""
    return jax.random.normal(jax.random.key(config.seed), (config.samples, config.noise))


def final_digits(config: Config, train_state: TrainState) -> np.ndarray:
    """Digits by the averaged generator in evaluation, its batch statistics measured again."""
    model, noise = make_models(config)["g"], noise_of(config)
    averaged = use_ema(train_state)
    alone = averaged._replace(params=averaged.params["g"], state=averaged.state["g"])
    measured = update_statistics(model, alone, noise, batch_size=config.batch_size)
    apply = jax.jit(lambda noise: (model.apply(measured.params, measured.state, noise, train=False)[0] + 1) / 2)
    batches = np.split(np.asarray(noise), len(noise) // config.batch_size)
    return np.concatenate([apply(batch) for batch in batches])


def collapsing(config: Config) -> Config:
    """The settings of the GAN that is to collapse."""
    return dataclasses.replace(
        config,
        norm="none",
        epochs=config.collapse_epochs,
        learning_rate=config.collapse_learning_rate,
        momentum=config.collapse_momentum,
    )


@in_run_folder(
    smoke={
        "epochs": 1,
        "batch_size": 8,
        "width": 2,
        "noise": 4,
        "samples": 80,
        "picture_every": 4,
        "collapse_epochs": 1,
    }
)
def run(config: Config, folder: RunFolder) -> Findings:
    """Train the two, measure what they draw, and show how it came about."""
    (images, _), (held_out, _) = load_digits(config.smoke)
    lenet = image_distance.random_lenet() if config.smoke else image_distance.load_lenet()
    real = image_distance.moments_of(lenet, held_out)
    networks = make_models(config)
    show_summary(folder, summary(networks["g"], noise_of(config)[:2]), summary(networks["d"], images[:2]))
    runs = {"with": (config, folder)}
    if config.collapse_epochs:
        other = collapsing(config)
        runs["without"] = other, RunFolder.open(folder.experiment, other, path=folder.path / "without_norm")
    trained = {name: train(*given, images, lenet, real) for name, given in runs.items()}
    found, drawn = dict(trained["with"].metrics), {}
    for name, (settings, own) in runs.items():
        drawn[name] = final_digits(settings, trained[name].train_state)
        numbers = {"frechet": image_distance.distance(real, image_distance.moments_of(lenet, drawn[name]))}
        own.append_metrics(
            step=int(trained[name].train_state.step), epoch=float(settings.epochs), split="test", metrics=numbers
        )
        print(f"Fréchet distance {name} norm: {numbers['frechet']:.3f}", flush=True)
        found |= {"test" if name == "with" else "without_norm": numbers}

    def draw() -> None:
        draw_grid(drawn["with"][:SHOWN], folder.path / "digits.png")
        shown = {TITLES[name]: own.path / "frames" for name, (_, own) in runs.items()}
        write_film(shown, folder.path / "training.gif")
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot_distances({name: own.read_metrics() for name, (_, own) in runs.items()}, folder.path / "distances.png")

    of_all = trained["with"]
    return Findings.of_fit(of_all, found, of_all.train_state.params, draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
