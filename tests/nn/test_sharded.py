"""Layers with derivatives of their own, split over devices, against one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxnets import init, nn
from jaxnets.devices import vary_like
from tests.forms import needs_devices
from tests.oracles import assert_close, normal

LAYERS = {
    "linear": (nn.linear_spec(3, 4), nn.linear, normal(8, 3)),
    "conv": (nn.conv_spec(3, 4, (3, 3)), nn.conv, normal(8, 5, 5, 3)),
    "depthwise_conv": (nn.depthwise_conv_spec(3, (3, 3)), nn.depthwise_conv, normal(8, 5, 5, 3)),
    "lstm": (nn.lstm_spec(3, 4), lambda params, x: nn.lstm(params, x)[0], normal(8, 5, 3)),
    "gru": (nn.gru_spec(3, 4), lambda params, x: nn.gru(params, x)[0], normal(8, 5, 3)),
    "attention": (nn.attention_spec(4, heads=2), nn.attention, normal(8, 5, 4)),
    "embedding": (nn.embedding_spec(7, 4), nn.embedding, np.arange(40).reshape(8, 5) % 7),
}


def split(mesh):
    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))


@needs_devices(4)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("how", ["jit", "pmap", "shard_map"])
def test_the_gradient_over_four_devices_is_that_of_one(name, how):
    spec, layer, x = LAYERS[name]
    params, _ = init(spec, jax.random.key(0))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])

    def gradients(params, x):
        return jax.grad(lambda p: jnp.sum(jnp.sin(layer(p, x))))(params)

    def summed(params, x):
        return jax.lax.psum(gradients(params, x), "data")

    def on_each(params, x):
        return summed(jax.tree.map(lambda w: vary_like(w, x), params), x)

    if how == "jit":
        actual = jax.jit(gradients, in_shardings=split(mesh))(params, x)
    elif how == "pmap":
        mapped = jax.pmap(summed, axis_name="data", in_axes=(None, 0), devices=jax.devices()[:4])
        actual = jax.tree.map(lambda g: g[0], mapped(params, x.reshape(4, 2, *x.shape[1:])))
    else:
        specs = PartitionSpec(), PartitionSpec("data")
        actual = jax.jit(jax.shard_map(on_each, mesh=mesh, in_specs=specs, out_specs=PartitionSpec()))(params, x)
    assert_close(actual, jax.jit(gradients)(params, x), rtol=1e-4, atol=1e-4)
