"""InfoNCE against CLIP's loss in PyTorch, on one device and divided over several."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, PartitionSpec
from torch.nn import functional

from jaxnets import losses, nn
from jaxnets.devices import vary_like
from tests.forms import float64, needs_devices
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity


def torch_clip(first, second, log_scale):
    logits = log_scale.exp() * functional.normalize(first, dim=-1) @ functional.normalize(second, dim=-1).T
    labels = torch.arange(len(logits))
    both = [functional.cross_entropy(z, labels, reduction="none") for z in (logits, logits.T)]
    return sum(both) / 2


@pytest.mark.parametrize("log_scale", [0.0, float(np.log(1 / 0.07)), float(np.log(100))])
def test_values_and_gradients_are_clips(log_scale):
    assert_parity(
        losses.info_nce, torch_clip, normal(6, 4), normal(6, 4, seed=1), np.float32(log_scale), rtol=1e-4, atol=1e-5
    )


def test_equal_embeddings_tell_nothing_and_zeros_have_finite_gradients():
    same = np.ones((5, 3), np.float32)
    both = quick_jit(jax.value_and_grad(lambda x, y: jnp.sum(losses.info_nce(x, y, 1.0)), argnums=(0, 1)))
    for first, second in ((same, 2 * same), (0 * same, same)):
        value, slopes = both(first, second)
        np.testing.assert_allclose(value, 5 * np.log(5), rtol=1e-6)
        assert np.all(np.isfinite(slopes))


def encode(params, images, texts):
    return nn.linear(params["image"], images), nn.linear(params["text"], texts), params["log_scale"]


def mean_loss(params, images, texts, axis_name=None):
    return jnp.mean(losses.info_nce(*encode(params, images, texts), axis_name=axis_name))


def problem():
    kernels = {"image": normal(3, 4, seed=2, dtype=np.float64), "text": normal(5, 4, seed=3, dtype=np.float64)}
    params = {name: {"kernel": kernel, "bias": kernel[0]} for name, kernel in kernels.items()}
    inputs = normal(8, 3, dtype=np.float64), normal(8, 5, seed=1, dtype=np.float64)
    return params | {"log_scale": np.float64(1.5)}, *inputs


MESH_AXIS, DEVICES = "devices", 4


def by_pmap(params, images, texts):
    """Each device's own gradient, and then the mean, as `make_step(loss, optimizer, axis_name=...)` takes it."""

    def on_device(params, images, texts):
        value, slope = jax.value_and_grad(mean_loss)(params, images, texts, MESH_AXIS)
        return jax.lax.pmean((value, slope), MESH_AXIS)

    images, texts = (x.reshape(DEVICES, 2, -1) for x in (images, texts))
    mapped = jax.pmap(on_device, axis_name=MESH_AXIS, in_axes=(None, 0, 0), devices=jax.devices()[:DEVICES])
    return jax.tree.map(lambda x: x[0], mapped(params, images, texts))


def by_vmap(params, images, texts):
    def on_device(images, texts):
        value, slope = jax.value_and_grad(mean_loss)(params, images, texts, MESH_AXIS)
        return jax.lax.pmean((value, slope), MESH_AXIS)

    images, texts = (x.reshape(DEVICES, 2, -1) for x in (images, texts))
    return jax.tree.map(lambda x: x[0], quick_jit(jax.vmap(on_device, axis_name=MESH_AXIS))(images, texts))


def by_shard_map(params, images, texts, inside):
    """The gradient outside of the map, or inside with parameters that vary, whose gradients are then averaged."""
    mesh = Mesh(jax.devices()[:DEVICES], MESH_AXIS)
    whole, split = PartitionSpec(), PartitionSpec(MESH_AXIS)

    def value(params, images, texts):
        return jax.lax.pmean(mean_loss(params, images, texts, MESH_AXIS), MESH_AXIS)

    def value_and_slope(params, images, texts):
        varying = jax.tree.map(lambda p: vary_like(p, images), params)
        both = jax.value_and_grad(mean_loss)(varying, images, texts, MESH_AXIS)
        return jax.lax.pmean(both, MESH_AXIS)

    specs = {"mesh": mesh, "in_specs": (whole, split, split), "out_specs": whole}
    if inside:
        return quick_jit(jax.shard_map(value_and_slope, **specs))(params, images, texts)
    return quick_jit(jax.value_and_grad(jax.shard_map(value, **specs)))(params, images, texts)


WAYS = {
    "pmap": by_pmap,
    "vmap": by_vmap,
    "shard_map": lambda *args: by_shard_map(*args, inside=False),
    "gradient inside shard_map": lambda *args: by_shard_map(*args, inside=True),
}


@needs_devices(DEVICES)
@pytest.mark.parametrize("way", WAYS)
def test_devices_have_the_loss_and_gradient_of_one_device(way):
    with float64():
        arguments = problem()
        expected = quick_jit(jax.value_and_grad(mean_loss))(*arguments)
        chex.assert_trees_all_close(WAYS[way](*arguments), expected, rtol=1e-10, atol=1e-12)


def test_errors():
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"same shape, got \[2, 3\] and \[3, 2\]; write second.reshape"):
        losses.info_nce(x, x.T, 1.0)
    with pytest.raises(ValueError, match=r"must be \[batch, features\], got \[3\]"):
        losses.info_nce(x[0], x[0], 1.0)
    with pytest.raises(ValueError, match=r"log_scale must be a scalar, got \[1\]"):
        losses.info_nce(x, x, jnp.ones(1))


def test_rows_whose_squares_overflow_or_vanish():
    rows = normal(4, 3)
    expected = losses.info_nce(rows, rows[::-1], jnp.log(3.0))
    for factor in (1e-30, 1e30):
        found = losses.info_nce(rows * np.float32(factor), rows[::-1], jnp.log(3.0))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
