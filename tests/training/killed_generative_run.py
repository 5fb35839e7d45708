"""A GAN or a diffusion model in a process of its own, for the test that kills it.

`python -m tests.training.killed_generative_run gan|diffusion FOLDER PAUSE`
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import diffusion, losses, metrics, models, subkey
from jaxnets.training import (
    Checkpoints,
    Part,
    alternate,
    alternate_state,
    fit,
    init_train_state,
    make_evaluate,
    make_step,
    with_ema,
)

EPOCHS, BATCH, PER_CALL, EXAMPLES = 3, 4, 3, 60
NOISE = 3


def gan(optimizer):
    """A DCGAN with spectral norm, its generator averaged: state of batch norm, of power iteration, two optimizers."""
    networks = {
        "d": models.dcgan_discriminator(models.DCGANDiscriminatorConfig(28, 1, width=2, norm="spectral")),
        "g": models.dcgan_generator(models.DCGANGeneratorConfig(28, 1, noise=NOISE, width=2)),
    }

    def draw(params, state, images, key):
        noise = jax.random.normal(subkey(key, "noise"), (len(images), NOISE))
        return networks["g"].apply(params["g"], state["g"], noise, train=True)

    def d_loss(params, state, images, *, key, train):
        fakes, _ = draw(params, state, images, key)
        real, d = networks["d"].apply(params["d"], state["d"], images, train=train)
        fake, d = networks["d"].apply(params["d"], d, fakes, train=train)
        values = losses.gan_discriminator(real, fake, "hinge")
        return jnp.mean(values), ({**state, "d": d}, {"loss": metrics.mean(values)})

    def g_loss(params, state, images, *, key, train):
        fakes, g = draw(params, state, images, key)
        scores, _ = networks["d"].apply(params["d"], state["d"], fakes, train=train)
        values = losses.gan_generator(scores, "hinge")
        return jnp.mean(values), ({**state, "g": g}, {"loss": metrics.mean(values)})

    parts = {"d": Part(d_loss, optimizer), "g": Part(g_loss, with_ema(optimizer, 0.9))}

    def evaluate(train_state, images):
        (value, _) = g_loss(train_state.params, train_state.state, images, key=train_state.key, train=False)
        return {"loss": metrics.mean(value[None])}

    return alternate_state(networks, parts, seed=3), alternate(parts), evaluate, 28


def denoiser(optimizer):
    """A U-Net that is told classes, some of them kept secret, averaged: random steps, noise and secrets."""
    config = models.DiffusionUNetConfig(
        4, 1, classes=2, features=4, multipliers=(1,), blocks=1, attention=(), groups=2, dropout_rate=0.2
    )
    model, shares, optimizer = models.diffusion_unet(config), diffusion.cosine_schedule(20), with_ema(optimizer, 0.9)

    def loss(params, state, images, *, key, train):
        t = jax.random.randint(subkey(key, "t"), (len(images),), 0, 20)
        noise = jax.random.normal(subkey(key, "noise"), images.shape)
        labels = jax.random.randint(subkey(key, "secret"), (len(images),), 0, 3)
        inputs = models.DiffusionInputs(diffusion.add_noise(shares, images, t, noise), t, labels)
        predicted, state = model.apply(params, state, inputs, key=key, train=train)
        values = losses.squared_error(predicted, noise)
        return jnp.mean(values), (state, {"loss": metrics.mean(values)})

    return init_train_state(model, optimizer, seed=3), make_step(loss, optimizer), make_evaluate(loss), 4


def main(kind: str, folder: Path, pause: float) -> None:
    """Train with checkpoints, and write every bit of the train state and every number at the end."""
    import optax

    start, step, evaluate, size = {"gan": gan, "diffusion": denoiser}[kind](optax.adam(0.01, b1=0.5))

    def slow(event):
        print(event.kind, event.step, flush=True)
        if event.kind == "steps":
            time.sleep(pause)

    images = np.random.default_rng(0).random((EXAMPLES + 8, size, size, 1), np.float32)
    result = fit(
        start,
        step,
        images[:EXAMPLES],
        epochs=EPOCHS,
        batch_size=BATCH,
        steps_per_call=PER_CALL,
        evaluate=evaluate,
        validation=images[EXAMPLES:],
        callbacks=[slow],
        checkpoints=Checkpoints(folder / "checkpoints", best=None, every_steps=PER_CALL),
    )
    leaves = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(result.train_state))}
    np.savez(folder / "end.npz", history=np.array([repr(record) for record in result.history]), **leaves)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
