"""Second derivatives of the layers of a discriminator, as a gradient penalty takes them, against PyTorch's.

The loss is the squared slope of a score, sum over x of (d score / dx)^2; compared are its gradients with respect to the
parameters and to x. In float64 layers have their plain forms, in float32 the fast ones where the backend has any.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from jaxnets import nn
from tests.forms import float64
from tests.oracles import assert_close, normal, quick_jit
from tests.torch_oracle import to_torch


def channels_last(layer):
    """A layer of PyTorch on images whose channels are last."""
    return lambda params, x: layer(params, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def weight_of(params, name="kernel"):
    return params[name].permute(3, 2, 0, 1).contiguous()


def conv(**settings):
    return channels_last(lambda params, x: functional.conv2d(x, weight_of(params), params["bias"], **settings))


def conv_transpose(params, x):
    return functional.conv_transpose2d(x, weight_of(params), params["bias"], stride=2, padding=1)


def by_direction(params, x):
    direction = weight_of(params, "direction")
    norms = direction.flatten(1).norm(dim=1)[:, None, None, None]
    return functional.conv2d(x, direction * params["magnitude"][:, None, None, None] / norms, params["bias"])


U, V = normal(3, seed=8) / 2, normal(3, 3, 4, seed=9) / 6


def spectral(params, x):
    """One step of power iteration, whose vectors count as constants."""
    matrix = params["kernel"].reshape(-1, 3)
    with torch.no_grad():
        v = functional.normalize(matrix @ torch.tensor(U, dtype=x.dtype), dim=0)
        u = functional.normalize(matrix.T @ v, dim=0)
    kernel = params["kernel"] / (v @ matrix @ u)
    return functional.conv2d(x, kernel.permute(3, 2, 0, 1).contiguous(), params["bias"], padding=1)


def spectral_conv(params, x):
    state = {"u": jnp.asarray(U, x.dtype), "v": jnp.asarray(V, x.dtype)}
    divided, _ = nn.spectral_norm(params, state, train=True)
    return nn.conv(divided, x)


def batch_norm(params, x):
    state = {"mean": jnp.zeros(4, x.dtype), "variance": jnp.ones(4, x.dtype), "count": jnp.zeros((), jnp.int32)}
    return nn.batch_norm(params, state, x, train=True)[0]


def torch_norm(params, x):
    return functional.batch_norm(x, None, None, params["scale"], params["bias"], training=True)


def grouped(groups):
    return channels_last(lambda params, x: functional.group_norm(x, groups, params["scale"], params["bias"]))


LAYERS = {
    "linear": (nn.linear_spec(4, 3), nn.linear, lambda p, x: functional.linear(x, p["kernel"].T, p["bias"])),
    "conv": (nn.conv_spec(4, 3, (3, 3)), nn.conv, conv(padding=1)),
    "conv of stride 2": (
        nn.conv_spec(4, 3, (4, 4)),
        lambda p, x: nn.conv(p, x, stride=2, padding=1),
        conv(stride=2, padding=1),
    ),
    "dilated conv": (
        nn.conv_spec(4, 3, (3, 2)),
        lambda p, x: nn.conv(p, x, dilation=2, padding="VALID"),
        conv(dilation=2),
    ),
    "conv of everything": (nn.conv_spec(4, 1, (6, 6)), lambda p, x: nn.conv(p, x, padding="VALID"), conv()),
    "transposed conv": (
        nn.conv_transpose_spec(4, 3, (4, 4)),
        lambda p, x: nn.conv_transpose(p, x, stride=2),
        channels_last(conv_transpose),
    ),
    "spectral norm": (nn.conv_spec(4, 3, (3, 3)), spectral_conv, channels_last(spectral)),
    "weight norm": (
        nn.weight_norm_spec(nn.conv_spec(4, 3, (3, 3))),
        lambda p, x: nn.conv(nn.weight_norm(p), x, padding="VALID"),
        channels_last(by_direction),
    ),
    "batch norm": ({"scale": (4,), "bias": (4,)}, batch_norm, channels_last(torch_norm)),
    "layer norm": (
        nn.layer_norm_spec(4),
        nn.layer_norm,
        lambda p, x: functional.layer_norm(x, (4,), p["scale"], p["bias"]),
    ),
    "group norm": (nn.group_norm_spec(4), lambda p, x: nn.group_norm(p, x, groups=2), grouped(2)),
    "instance norm": (nn.instance_norm_spec(4), nn.instance_norm, grouped(4)),
    "average pooling": (
        {},
        lambda p, x: nn.avg_pool(x, (2, 2)),
        channels_last(lambda p, x: functional.avg_pool2d(x, 2)),
    ),
    "overlapping average pooling": (
        {},
        lambda p, x: nn.avg_pool(x, (3, 3), stride=1),
        channels_last(lambda p, x: functional.avg_pool2d(x, 3, stride=1)),
    ),
    "maximum pooling": (
        {},
        lambda p, x: nn.max_pool(x, (2, 2)),
        channels_last(lambda p, x: functional.max_pool2d(x, 2)),
    ),
    "global average pooling": ({}, lambda p, x: nn.global_avg_pool(x), lambda p, x: x.mean(dim=(1, 2))),
    "leaky ReLU": ({}, lambda p, x: nn.leaky_relu(x, 0.2), lambda p, x: functional.leaky_relu(x, 0.2)),
    "SiLU": ({}, lambda p, x: nn.silu(x), lambda p, x: functional.silu(x)),
    "upsampling": (
        {},
        lambda p, x: nn.upsample(x, 2),
        channels_last(lambda p, x: functional.interpolate(x, scale_factor=2, mode="nearest")),
    ),
    "pixel unshuffle": (
        {},
        lambda p, x: nn.pixel_unshuffle(x, 2),
        channels_last(lambda p, x: functional.pixel_unshuffle(x, 2)),
    ),
}
WIDE = np.float64
TOLERANCES = {np.float32: (2e-4, 2e-4), WIDE: (1e-9, 1e-10)}


def numbers_for(spec, dtype):
    generator = np.random.default_rng(2)
    shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), spec, is_leaf=lambda leaf: isinstance(leaf, tuple))
    return {name: (generator.normal(size=shape) * 0.5).astype(dtype) for name, shape in shapes.items()}


def squared_slope(layer):
    """Our loss: the score is a function with curvature of the layer's result."""

    def loss(params, x):
        return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.sin(layer(params, x))))(x)))

    return loss


def torch_squared_slope(layer, params, x):
    (slope,) = torch.autograd.grad(layer(params, x).sin().sum(), x, create_graph=True)
    return slope.square().sum()


@pytest.mark.parametrize("dtype", [np.float32, WIDE], ids=["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_of_a_slope_is_that_of_pytorch(name, dtype):
    spec, ours, theirs = LAYERS[name]
    params, x = numbers_for(spec, dtype), normal(3, 6, 6, 4, seed=3).astype(dtype)
    tensors, inputs = to_torch(params, requires_grad=True), torch.tensor(x, requires_grad=True)
    expected = torch_squared_slope(theirs, tensors, inputs)
    expected.backward()
    gradients = {key: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for key, leaf in tensors.items()}
    with float64() if dtype == WIDE else contextlib.nullcontext():
        value, actual = quick_jit(jax.value_and_grad(squared_slope(ours), (0, 1)))(params, x)
    assert value.dtype == dtype
    rtol, atol = TOLERANCES[dtype]
    largest = max(float(leaf.abs().max()) for leaf in [*gradients.values(), inputs.grad])
    np.testing.assert_allclose(value, expected.item(), rtol=rtol)
    assert_close(actual, (gradients, inputs.grad), rtol, atol * max(1.0, largest))
