"""Every activation's value and gradient against PyTorch or its formula, at the kinks and far out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F  # noqa: N812

from jaxnets import init, nn, torch_defaults
from jaxnets.nn import activations
from tests.forms import float64
from tests.oracles import assert_close, normal, quick_jit
from tests.torch_oracle import assert_parity

GRID = np.concatenate([np.linspace(-7.01, 7.02, 300), [-100.0, -50.0, -30.0, -1e-3, 1e-3, 30.0, 50.0, 100.0]])
"""Around all kinks but on none, and far out."""
EXACT = {"rtol": 1e-10, "atol": 1e-13}
FLOAT32_CONSTANTS = ("celu-alpha", "hard_sigmoid")
"""Where PyTorch's float64 gradient has constants rounded to float32, 1/alpha and 1/6."""

PARITY = {
    "relu": (nn.relu, F.relu),
    "relu6": (nn.relu6, F.relu6),
    "sigmoid": (nn.sigmoid, torch.sigmoid),
    "log_sigmoid": (nn.log_sigmoid, F.logsigmoid),
    "tanh": (nn.tanh, torch.tanh),
    "softplus": (nn.softplus, lambda x: F.softplus(x, threshold=1000)),
    "softplus-beta": (lambda x: nn.softplus(x, 3.0), lambda x: F.softplus(x, 3.0, threshold=1000)),
    "leaky_relu": (nn.leaky_relu, F.leaky_relu),
    "leaky_relu-slope": (lambda x: nn.leaky_relu(x, 0.1), lambda x: torch.maximum(0.1 * x, x)),
    "rrelu": (lambda x: nn.rrelu(x, train=False), lambda x: F.rrelu(x, training=False)),
    "elu": (nn.elu, F.elu),
    "elu-alpha": (lambda x: nn.elu(x, 0.7), lambda x: F.elu(x, 0.7)),
    "celu": (nn.celu, F.celu),
    "celu-alpha": (lambda x: nn.celu(x, 0.7), lambda x: F.celu(x, 0.7)),
    "selu": (nn.selu, F.selu),
    "gelu": (nn.gelu, lambda x: F.gelu(x, approximate="tanh")),
    "gelu-exact": (lambda x: nn.gelu(x, approximate=False), F.gelu),
    "silu": (nn.silu, F.silu),
    "swish": (nn.swish, F.silu),
    "hard_swish": (nn.hard_swish, F.hardswish),
    "hard_sigmoid": (nn.hard_sigmoid, F.hardsigmoid),
    "hard_tanh": (nn.hard_tanh, F.hardtanh),
    "hard_tanh-range": (lambda x: nn.hard_tanh(x, -0.5, 2.0), lambda x: F.hardtanh(x, -0.5, 2.0)),
    "soft_sign": (nn.soft_sign, F.softsign),
    "tanh_shrink": (nn.tanh_shrink, F.tanhshrink),
    "soft_shrink": (nn.soft_shrink, F.softshrink),
    "soft_shrink-threshold": (lambda x: nn.soft_shrink(x, 1.5), lambda x: F.softshrink(x, 1.5)),
    "hard_shrink": (nn.hard_shrink, F.hardshrink),
    "hard_shrink-threshold": (lambda x: nn.hard_shrink(x, 1.5), lambda x: F.hardshrink(x, 1.5)),
    "mish": (nn.mish, F.mish),
    "quick_gelu": (nn.quick_gelu, lambda x: x * torch.sigmoid(1.702 * x)),
    "softmax": (nn.softmax, lambda x: F.softmax(x, -1)),
    "log_softmax": (nn.log_softmax, lambda x: F.log_softmax(x, -1)),
    "identity": (nn.identity, lambda x: 1 * x),
    "sign": (nn.sign, torch.sign),
    "heaviside": (nn.heaviside, lambda x: 0 * x + torch.heaviside(x.detach(), torch.tensor(0.5, dtype=x.dtype))),
    "piecewise_linear": (nn.piecewise_linear, lambda x: F.hardtanh(x + 0.5, 0.0, 1.0)),
}


@pytest.mark.parametrize("name", PARITY)
def test_values_and_gradients_equal_torch(name):
    with float64():
        assert_parity(*PARITY[name], GRID, **(EXACT | {"rtol": 1e-6} if name in FLOAT32_CONSTANTS else EXACT))


def test_every_activation_is_in_the_parity_table_and_in_the_documented_one():
    functions = {name for name in activations.__all__ if not name.endswith("_spec")}
    assert functions == {name.split("-")[0] for name in PARITY} | {"prelu", "maxout"}
    for name in functions:
        assert f"`{name}`" in activations.__doc__
        assert getattr(nn, name) is getattr(activations, name)


FORMULAS = {
    "sign": (nn.sign, [-1, -1, 0, 1, 1], [0, 0, 0, 0, 0]),
    "heaviside": (nn.heaviside, [0, 0, 0.5, 1, 1], [0, 0, 0, 0, 0]),
    "piecewise_linear": (nn.piecewise_linear, [0, 0, 0.5, 1, 1], [0, 0, 1, 0, 0]),
    "relu": (nn.relu, [0, 0, 0, 0.5, 3], [0, 0, 0, 1, 1]),
    "relu6": (nn.relu6, [0, 0, 0, 0.5, 3], [0, 0, 0, 1, 1]),
    "leaky_relu": (nn.leaky_relu, [-0.03, -0.005, 0, 0.5, 3], [0.01, 0.01, 1, 1, 1]),
    "elu": (
        lambda x: nn.elu(x, 0.5),
        [0.5 * math.expm1(-3), 0.5 * math.expm1(-0.5), 0, 0.5, 3],
        [0.5 * math.exp(-3), 0.5 * math.exp(-0.5), 0.5, 1, 1],
    ),
    "hard_swish": (nn.hard_swish, [0, -0.5 * 2.5 / 6, 0, 0.5 * 3.5 / 6, 3], [0, 1 / 3, 0.5, 2 / 3, 1]),
    "hard_sigmoid": (nn.hard_sigmoid, [0, 2.5 / 6, 0.5, 3.5 / 6, 1], [0, 1 / 6, 1 / 6, 1 / 6, 0]),
    "hard_tanh": (lambda x: nn.hard_tanh(x, -3.0, 0.5), [-3, -0.5, 0, 0.5, 0.5], [0, 1, 1, 0, 0]),
    "soft_shrink": (nn.soft_shrink, [-2.5, 0, 0, 0, 2.5], [1, 0, 0, 0, 1]),
    "hard_shrink": (nn.hard_shrink, [-3, 0, 0, 0, 3], [1, 0, 0, 0, 1]),
    "prelu": (lambda x: nn.prelu({"slope": jnp.float32(0.2)}, x), [-0.6, -0.1, 0, 0.5, 3], [0.2, 0.2, 0.2, 1, 1]),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_and_derivatives_at_the_kinks_are_as_documented(name):
    function, values, derivatives = FORMULAS[name]
    x = jnp.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    actual, slopes = quick_jit(lambda x: (function(x), jax.vmap(jax.grad(lambda v: function(v[None])[0]))(x)))(x)
    np.testing.assert_allclose(actual, values, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slopes, derivatives, rtol=1e-6)


@pytest.mark.parametrize("name", PARITY)
def test_float32_stays_near_float64_and_finite_far_out(name):
    function = PARITY[name][0]
    x = np.float32([-1e4, -1e3, -100, -88.7, -20, -1, 1, 20, 88.7, 100, 1e3, 1e4])
    both = quick_jit(lambda x: (function(x), jax.grad(lambda x: jnp.sum(function(x)))(x)))
    with float64():
        exact, exact_gradient = both(x.astype(np.float64))
    actual, gradient = both(x)
    np.testing.assert_allclose(actual, exact, rtol=2e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, exact_gradient, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("slope_shape", [(), (5,)])
def test_prelu_equals_torch(slope_shape):
    with float64():
        assert_parity(
            nn.prelu,
            lambda p, x: F.prelu(x.reshape(-1, 5), p["slope"].reshape(-1)).reshape(x.shape),
            {"slope": np.asarray(normal(*slope_shape, dtype=np.float64))},
            normal(2, 3, 5, seed=1, dtype=np.float64),
            **EXACT,
        )


def test_prelu_starts_as_torch():
    params, _ = init(nn.prelu_spec(3), jax.random.key(0))
    assert_close(params["slope"], torch.nn.PReLU(3).weight, rtol=0, atol=0)


def test_rrelu_draws_uniform_slopes_for_negative_entries_only():
    x = jnp.concatenate([jnp.full(20000, -2.0), jnp.full(10, 3.0)])
    y = np.asarray(nn.rrelu(x, lower=0.2, upper=0.6, key=jax.random.key(0), train=True), np.float64)
    assert np.all(y[20000:] == 3)
    slopes = y[:20000] / -2
    assert 0.2 <= slopes.min() < 0.201
    assert 0.599 < slopes.max() <= 0.6
    # Six standard errors around the mean and the variance of U(0.2, 0.6).
    assert abs(slopes.mean() - 0.4) < 6 * 0.4 / math.sqrt(12 * 20000)
    np.testing.assert_allclose(slopes.var(), 0.4**2 / 12, rtol=0.05)
    assert_close(nn.rrelu(x, lower=0.2, upper=0.6, train=False)[:1], [-0.8], rtol=1e-6)


@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_maxout_equals_the_largest_of_torch_linear_layers(pieces, bias):
    params = {"kernel": normal(5, pieces, 3, seed=1, dtype=np.float64)}
    if bias:
        params["bias"] = normal(pieces, 3, seed=2, dtype=np.float64)

    def theirs(p, x):
        each = [F.linear(x, p["kernel"][:, i].T, p["bias"][i] if bias else None) for i in range(pieces)]
        return torch.stack(each).max(dim=0).values

    with float64():
        assert_parity(nn.maxout, theirs, params, normal(2, 4, 5, dtype=np.float64), **EXACT)


def test_maxout_kernel_starts_with_variance_one_over_inputs():
    params, _ = init(nn.maxout_spec(100, 100, pieces=4), jax.random.key(0))
    np.testing.assert_allclose(np.std(params["kernel"]), 1 / 10, rtol=0.02)
    params, _ = init(torch_defaults(nn.maxout_spec(100, 100, pieces=4)), jax.random.key(0))
    np.testing.assert_allclose(np.std(params["kernel"]), 1 / 10 / math.sqrt(3), rtol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.prelu({"slope": jnp.ones(3)}, jnp.ones((2, 4))), r"last axis must fit slope \[3\], got x \[2, 4\]"),
        (lambda: nn.maxout({"kernel": jnp.ones((3, 2, 1))}, jnp.ones((2, 4))), r"must be 3 \(kernel \[3, 2, 1\]\)"),
        (lambda: nn.rrelu(jnp.ones(3), train=True), "rrelu: drawing slopes in training needs a random key"),
        (lambda: nn.rrelu(jnp.ones(3), lower=0.5, upper=0.1, train=False), "must not be greater than upper"),
        (lambda: nn.hard_tanh(jnp.ones(3), 1.0, -1.0), "minimum must be less than maximum, got 1.0 and -1.0"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "function",
    [nn.heaviside, nn.piecewise_linear, nn.softplus, nn.hard_tanh, nn.tanh_shrink, nn.soft_shrink, nn.hard_shrink],
)
def test_integers_are_refused(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: x must be floating point, got int32"):
        function(jnp.ones(3, jnp.int32))


@pytest.mark.parametrize("name", ["celu", "elu", "gelu", "hard_shrink", "hard_sigmoid", "hard_swish", "hard_tanh",
    "heaviside", "identity", "leaky_relu", "log_sigmoid", "mish", "piecewise_linear", "quick_gelu", "relu",
    "relu6", "selu", "sigmoid", "sign", "silu", "soft_shrink", "soft_sign", "softplus", "tanh",
    "tanh_shrink"])  # fmt: skip
def test_nan_stays_nan(name):
    """As in PyTorch: a network that went wrong must not look alive."""
    assert np.isnan(getattr(nn, name)(jnp.array(jnp.nan)))


def test_exact_gelu_on_cpu_has_the_digits_of_pytorch_and_the_derivatives_of_scipy():
    """The form with erf, whose error is that of rounding 1 + erf(x / sqrt(2))."""
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    wide = x.astype(np.float64)
    cdf, density = scipy.stats.norm.cdf(wide), scipy.stats.norm.pdf(wide)
    value, slope = jax.vmap(jax.value_and_grad(lambda x: nn.gelu(x, approximate=False)))(x)
    curvature = jax.vmap(jax.grad(jax.grad(lambda x: nn.gelu(x, approximate=False))))(x)
    np.testing.assert_allclose(value, wide * cdf, rtol=1e-6, atol=1.2e-6)
    np.testing.assert_allclose(value, F.gelu(torch.tensor(x)), rtol=1e-6, atol=1.2e-6)
    np.testing.assert_allclose(slope, cdf + wide * density, rtol=1e-6, atol=1.2e-6)
    np.testing.assert_allclose(curvature, (2 - wide**2) * density, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("approximate", [True, False])
def test_gelu_in_float16_equals_float64_beyond_256_where_squares_overflow(approximate):
    x = np.array([-6e4, -300, -1, 0, 1, 300, 6e4], np.float16)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    expected = F.gelu(wide, approximate="tanh" if approximate else "none")
    expected.sum().backward()
    value, slope = jax.vmap(jax.value_and_grad(lambda x: nn.gelu(x, approximate)))(x)
    assert value.dtype == slope.dtype == jnp.float16
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-3)
    np.testing.assert_allclose(slope, wide.grad, rtol=1e-3, atol=1e-4)


def test_softmax_of_more_classes_than_float16_can_count_equals_torch():
    x = np.zeros(100_000, np.float16)
    x[:3] = [-8, 2, 4]
    for ours, theirs in ((nn.softmax, torch.softmax), (nn.log_softmax, torch.log_softmax)):
        result = ours(x)
        assert result.dtype == jnp.float16
        np.testing.assert_allclose(result, theirs(torch.tensor(x, dtype=torch.float64), 0), rtol=2e-3, atol=1e-7)
