"""jaxnets: the library's models, `alternate`, and the default dispatch of `fit`, many steps on drawn batches."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import dcgan as case
from benchmarks.loops import many_at_once
from benchmarks.seq2seq.jaxnets import load
from jaxnets import losses, metrics, models
from jaxnets.training import Part, alternate, alternate_state


def make_networks():
    size = {"image_size": 28, "channels": 1, "width": case.WIDTH}
    return {
        "d": models.dcgan_discriminator(models.DCGANDiscriminatorConfig(**size, norm="spectral")),
        "g": models.dcgan_generator(models.DCGANGeneratorConfig(**size, noise=case.NOISE)),
    }


def make_parts(networks):
    generate, discriminate = networks["g"].apply, networks["d"].apply

    def d_loss(params, state, batch, *, key, train):
        images, noise, _ = batch
        fakes, g = generate(params["g"], state["g"], noise, train=train)
        real, d = discriminate(params["d"], state["d"], images, train=train)
        fake, d = discriminate(params["d"], d, fakes, train=train)
        values = losses.gan_discriminator(real, fake, "hinge")
        return jnp.mean(values), ({"d": d, "g": g}, {"loss": metrics.mean(values)})

    def g_loss(params, state, batch, *, key, train):
        _, _, noise = batch
        fakes, g = generate(params["g"], state["g"], noise, train=train)
        scores, d = discriminate(params["d"], state["d"], fakes, train=train)
        values = losses.gan_generator(scores, "hinge")
        return jnp.mean(values), ({"d": d, "g": g}, {"loss": metrics.mean(values)})

    adam = optax.adam(case.RATE, b1=case.BETA)
    return {"d": Part(d_loss, adam), "g": Part(g_loss, adam)}


def start_vectors(state, weights):
    """The state with the case's `u`."""

    def leaf(path, array):
        return jnp.asarray(weights.get(jax.tree_util.keystr(path, simple=True, separator="/"), array))

    return jax.tree_util.tree_map_with_path(leaf, state)


def prepare(weights, *data):
    networks = make_networks()
    parts = make_parts(networks)
    state = alternate_state(networks, parts, seed=0)
    state = state._replace(params=load(state.params, weights), state=start_vectors(state.state, weights))
    data = jax.device_put(data)
    return many_at_once(alternate(parts), state, data, case, ("d/loss", "g/loss"))
