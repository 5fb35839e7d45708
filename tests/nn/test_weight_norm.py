"""Kernels of bounded norm, or of direction and magnitude, against PyTorch's parametrizations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn.utils import spectral_norm
from torch.nn.utils.parametrizations import weight_norm

from jaxnets import init, nn
from tests.forms import float64
from tests.oracles import normal


def to_torch(kernel):
    """A kernel as PyTorch's weight: outputs, then inputs, then positions."""
    return torch.tensor(np.moveaxis(np.asarray(kernel), (-1, -2), (0, 1)))


def from_torch(weight):
    return np.moveaxis(weight.detach().numpy(), (0, 1), (-1, -2))


LAYERS = {
    "linear": (lambda: nn.linear_spec(4, 3), lambda: torch.nn.Linear(4, 3), lambda x: x.mean(dim=(2, 3))),
    "conv": (lambda: nn.conv_spec(4, 3, (2, 3)), lambda: torch.nn.Conv2d(4, 3, (2, 3)), lambda x: x),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_power_iteration_and_gradient_are_those_of_pytorch(name, iterations):
    spec, make, _ = LAYERS[name]
    with float64():
        params, state = init(nn.spectral_norm_spec(spec()), jax.random.key(0), dtype=jnp.float64)
        theirs = make().double()
        theirs.weight.data = to_torch(params["kernel"])
        theirs = spectral_norm(theirs, n_power_iterations=iterations)
        start = {key: np.asarray(leaf, np.float64) for key, leaf in state.items()}
        state = jax.tree.map(jnp.asarray, start)
        theirs.weight_u.data = torch.tensor(start["u"])
        theirs.train()
        direction = normal(*params["kernel"].shape).astype(np.float64)
        theirs(torch.zeros(1, 4, *(4, 4)[: len(start["v"].shape) - 1], dtype=torch.float64))  # computes the weight
        weight = theirs.weight
        (weight * to_torch(direction)).sum().backward()

        def run(params):
            divided, new = nn.spectral_norm(params, state, iterations=iterations, train=True)
            return jnp.vdot(divided["kernel"], direction), (divided["kernel"], new)

        gradient, (kernel, new) = jax.grad(run, has_aux=True)(params)
        np.testing.assert_allclose(kernel, from_torch(weight), rtol=1e-6)
        np.testing.assert_allclose(new["u"], theirs.weight_u, rtol=1e-6)
        expected = from_torch(theirs.weight_orig.grad)
        np.testing.assert_allclose(gradient["kernel"], expected, rtol=1e-5, atol=1e-8)

        theirs.eval()
        theirs(torch.zeros(1, 4, *(4, 4)[: len(start["v"].shape) - 1], dtype=torch.float64))
        same, unchanged = nn.spectral_norm(params, new, train=False)
        np.testing.assert_allclose(same["kernel"], from_torch(theirs.weight), rtol=1e-6)
        jax.tree.map(np.testing.assert_array_equal, unchanged, new)


def test_the_largest_singular_value_becomes_one_for_kernels_of_heads():
    spec = nn.spectral_norm_spec(nn.attention_spec(6, heads=2)["query"], out_axes=2)
    params, state = init(spec, jax.random.key(0))
    divided, _ = nn.spectral_norm(params, state, iterations=100, train=True)
    values = np.linalg.svd(np.asarray(divided["kernel"]).reshape(6, 6), compute_uv=False)
    np.testing.assert_allclose(values[0], 1, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_direction_and_magnitude_are_those_of_pytorch(name):
    spec, make, inputs = LAYERS[name]
    params, _ = init(nn.weight_norm_spec(spec()), jax.random.key(0))
    theirs = make()
    theirs.weight.data = to_torch(params["direction"])
    theirs.bias.data = torch.tensor(np.asarray(params["bias"]))
    theirs = weight_norm(theirs)
    magnitude = theirs.parametrizations.weight.original0
    magnitude.data = torch.tensor(np.asarray(params["magnitude"])).reshape(magnitude.shape)
    x = torch.tensor(normal(2, 4, 5, 5))
    y = theirs(inputs(x))
    direction = normal(*y.shape)
    (y * torch.tensor(direction)).sum().backward()

    ours = np.asarray(inputs(x)) if name == "linear" else np.moveaxis(x.numpy(), 1, -1)
    along = direction if name == "linear" else np.moveaxis(direction, 1, -1)
    run = nn.linear if name == "linear" else nn.conv
    settings = {} if name == "linear" else {"padding": 0}
    gradient = jax.grad(lambda p: jnp.vdot(run(nn.weight_norm(p), ours, **settings), along))(params)
    expected = theirs.parametrizations.weight
    np.testing.assert_allclose(gradient["direction"], from_torch(expected.original1.grad), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient["magnitude"], expected.original0.grad.ravel(), rtol=1e-4, atol=1e-5)


def test_magnitudes_start_as_norms_of_the_initializer():
    spec = nn.weight_norm_spec(nn.linear_spec(10_000, 5, kernel_init=jax.nn.initializers.normal(0.3)))
    params, _ = init(spec, jax.random.key(0))
    np.testing.assert_allclose(params["magnitude"], 0.3 * 10_000**0.5, rtol=0.05)  # a norm of that many varies by 1%


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: nn.spectral_norm_spec(nn.layer_norm_spec(3)), r"must have a kernel.*got \['bias', 'scale'\]"),
        (lambda: nn.weight_norm_spec(nn.linear_spec(3, 4), out_axes=2), r"out_axes must be from 1 to 1 for \[3, 4\]"),
        (
            lambda: nn.spectral_norm({"kernel": jnp.ones((3, 4))}, {"u": jnp.ones(3), "v": jnp.ones(4)}, train=True),
            r"u and v must be of a kernel \[3, 4\], got \[3\] and \[4\]",
        ),
        (lambda: nn.weight_norm({"direction": jnp.ones((3, 4)), "magnitude": jnp.ones(3)}), "magnitude must have"),
    ],
)
def test_layers_without_such_a_kernel_are_errors(run, message):
    with pytest.raises(ValueError, match=message):
        run()


def test_a_kernel_of_zeros_is_left_alone_and_normalized_once_it_is_none():
    """PyTorch's is NaN; Flax divides by 1, and its u stays at 0 for ever."""
    params, state = init(nn.spectral_norm_spec(nn.linear_spec(4, 3)), jax.random.key(0))
    zeros = params | {"kernel": jnp.zeros((4, 3))}
    slope, after = jax.grad(lambda p: (lambda p, s: (p["kernel"].sum(), s))(*nn.spectral_norm(p, state, train=True)),
                            has_aux=True)(zeros)  # fmt: skip
    np.testing.assert_array_equal(slope["kernel"], np.ones((4, 3)))
    np.testing.assert_array_equal(nn.spectral_norm(zeros, state, train=False)[0]["kernel"], zeros["kernel"])
    divided, _ = nn.spectral_norm(params, after, iterations=100, train=True)
    np.testing.assert_allclose(np.linalg.norm(divided["kernel"], 2), 1, rtol=1e-5)
