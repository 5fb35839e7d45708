"""Pooling against PyTorch, in the fast and in the plain form: values, gradients, ties, NaN; and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from jaxnets import nn
from jaxnets.backend import plain_forms
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal, quick_jit
from tests.torch_oracle import assert_parity

FUNCTIONAL = torch.nn.functional


def torch_pool(name, rank, *args, **options):
    """PyTorch's `name` of that rank, on `[..., *spatial, channels]`."""
    function = getattr(FUNCTIONAL, f"{name}{rank}d")

    def run(x):
        leading = x.shape[: x.ndim - rank - 1]
        y = function(x.reshape(-1, *x.shape[x.ndim - rank - 1 :]).movedim(-1, 1), *args, **options).movedim(1, -1)
        return y.reshape(*leading, *y.shape[1:])

    return run


@pytest.fixture(params=["fast", "plain"])
def form(request, enter):
    if request.param == "plain":
        enter(plain_forms("pooling"))


GRID = [
    ((2,), (2, 7, 3), {}),
    ((3,), (7, 3), {"stride": 2, "padding": 1}),
    ((2, 2), (2, 4, 6, 3), {}),
    ((2, 2), (2, 5, 4, 3), {"stride": 1, "padding": 1}),
    ((3, 2), (2, 2, 6, 5, 3), {"stride": (2, 1), "padding": (1, 0)}),
    ((5, 4), (1, 9, 8, 2), {"padding": 2}),
    ((2, 2, 2), (2, 4, 5, 4, 2), {}),
    ((3, 2, 3), (1, 4, 5, 6, 2), {"stride": (1, 2, 2), "padding": 1}),
]


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("window", "shape", "options"), GRID)
def test_max_pool_equals_torch(window, shape, options):
    theirs = torch_pool("max_pool", len(window), window, **options)
    assert_parity(lambda x: nn.max_pool(x, window, **options), theirs, normal(*shape))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("tied", [np.zeros, lambda s: np.random.default_rng(0).integers(0, 3, s)], ids=["equal", "few"])
@pytest.mark.parametrize(("window", "shape", "options"), GRID)
def test_the_first_maximum_takes_the_gradient_as_in_torch(window, shape, options, tied):
    theirs = torch_pool("max_pool", len(window), window, **options)
    assert_parity(lambda x: nn.max_pool(x, window, **options), theirs, tied(shape).astype(np.float32))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("count", [True, False])
@pytest.mark.parametrize(("window", "shape", "options"), GRID)
def test_avg_pool_equals_torch(window, shape, options, count):
    if len(window) == 1 and "padding" in options:
        shape = (1, *shape)
    theirs = torch_pool("avg_pool", len(window), window, count_include_pad=count, **options)
    assert_parity(lambda x: nn.avg_pool(x, window, count_padding=count, **options), theirs, normal(*shape))


@st.composite
def poolings(draw):
    rank = draw(st.integers(1, 3))
    axis = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 6), st.integers(0, 2))
    window, stride, more, padding = zip(*draw(st.lists(axis, min_size=rank, max_size=rank)), strict=True)
    padding = tuple(min(p, w // 2) for p, w in zip(padding, window, strict=True))  # PyTorch takes no more
    return window, stride, padding, (2, *(w + m for w, m in zip(window, more, strict=True)), 2)


@pytest.mark.slow
@settings(deadline=None, max_examples=20, derandomize=True)
@given(poolings())
def test_any_pooling_equals_torch(pooling):
    window, stride, padding, shape = pooling
    options = {"stride": stride, "padding": padding}
    x = np.random.default_rng(0).integers(0, 9, shape).astype(np.float32)
    assert_parity(
        lambda x: (nn.max_pool(x, window, **options), nn.avg_pool(x, window, count_padding=False, **options)),
        lambda x: (
            torch_pool("max_pool", len(window), window, **options)(x),
            torch_pool("avg_pool", len(window), window, count_include_pad=False, **options)(x),
        ),
        x,
    )


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("window", [(2, 2), (3, 3)])
def test_unlike_sides_of_padding_equal_torch_on_padded_input(window):
    padding = ((1, 0), (0, 1))

    def theirs(x, value, name):
        x = FUNCTIONAL.pad(x, (0, 0, 0, 1, 1, 0), value=value)
        return torch_pool(name, 2, window, stride=2)(x)

    x = normal(2, 5, 6, 3)
    assert_parity(
        lambda x: nn.max_pool(x, window, stride=2, padding=padding), lambda x: theirs(x, -torch.inf, "max_pool"), x
    )
    assert_parity(lambda x: nn.avg_pool(x, window, stride=2, padding=padding), lambda x: theirs(x, 0, "avg_pool"), x)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(("size", "before", "after"), [(4, 0, 1), (5, 1, 1), (6, 0, 1)])
def test_same_padding_leaves_size_over_stride_and_averages_what_is_there(size, before, after):
    x = normal(1, size, 1)
    padded = np.pad(x.ravel(), (before, after), constant_values=np.nan)
    windows = np.stack([padded[i : i + 3] for i in range(0, size, 2)])
    settings = {"window": (3,), "stride": 2, "padding": "SAME"}
    assert_close(nn.max_pool(x, **settings).ravel(), np.nanmax(windows, axis=1))
    assert_close(nn.avg_pool(x, count_padding=False, **settings).ravel(), np.nanmean(windows, axis=1))
    assert_close(nn.avg_pool(x, **settings).ravel(), np.nansum(windows, axis=1) / 3)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("window", [(2, 2), (3, 3)])
def test_nan_and_infinities_are_treated_as_in_torch(window):
    x = normal(2, 6, 6, 2)
    x[0, 1, 1, 0], x[0, 4, 3, 1], x[1, 0, 0, 0], x[1, 3:, 3:, 1] = np.nan, np.inf, -np.inf, -np.inf
    theirs = torch_pool("max_pool", 2, window)(torch.tensor(x))

    @jax.jit
    def ours(x):
        return nn.max_pool(x, window), nn.adaptive_max_pool(x, (2, 4)), nn.global_max_pool(x)

    y, adaptive, whole = ours(x)
    np.testing.assert_array_equal(y, theirs)
    np.testing.assert_array_equal(adaptive, torch_pool("adaptive_max_pool", 2, (2, 4))(torch.tensor(x)))
    np.testing.assert_array_equal(whole, torch.tensor(x).amax((1, 2)))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(nn.max_pool(x, window)[1])))(x)
    assert np.isfinite(gradient).all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8])
def test_maxima_of_integers(dtype):
    x = np.random.default_rng(0).integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (2, 5, 6, 3), dtype)

    @jax.jit
    def ours(x):
        return nn.max_pool(x, (3, 3), padding=1), nn.global_max_pool(x), nn.adaptive_max_pool(x, (1, 2))

    y, whole, adaptive = ours(x)
    assert y.dtype == dtype
    lowest = np.iinfo(dtype).min
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=lowest)
    np.testing.assert_array_equal(y, padded[:, :6, :6].reshape(2, 2, 3, 2, 3, 3).max(axis=(2, 4)))
    np.testing.assert_array_equal(whole, x.max(axis=(1, 2)))
    np.testing.assert_array_equal(adaptive[:, 0, 1], x[:, :, 3:].max(axis=(1, 2)))


@needs_cpu
@pytest.mark.skipif(jax.__version_info__ < (0, 8), reason="jaxlib 0.7 cannot compile it")
def test_the_fast_form_is_used_unless_switched_off(enter):
    def jaxpr():
        return str(jax.make_jaxpr(lambda x: (nn.max_pool(x, (2, 2)), nn.avg_pool(x, (3, 3))))(jnp.ones((1, 6, 6, 1))))

    assert "reduce_window_" not in jaxpr()
    enter(plain_forms("pooling"))
    assert jaxpr().count("reduce_window_") == 2


@pytest.mark.parametrize("window", [(2, 2), (3, 3)])
def test_second_derivatives_of_max_pool(window):
    """The maximum is linear near distinct entries: H v of sum(pool(x)^3) is 6 pool(x) * v at the maxima."""
    x, v = normal(1, 6, 6, 2), normal(1, 6, 6, 2, seed=1)

    @quick_jit
    def derivatives(x, v):
        hessian_vector = jax.jvp(jax.grad(lambda x: jnp.sum(nn.max_pool(x, window) ** 3)), (x,), (v,))[1]
        return hessian_vector, jax.grad(lambda x: jnp.sum(nn.max_pool(x, window)))(x)

    hessian_vector, is_maximum = derivatives(x, v)
    assert_close(hessian_vector, 6 * x * v * is_maximum, rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "output_size"),
    [
        ((2, 7, 3), (3,)),
        ((8, 3), (2,)),
        ((2, 7, 5, 3), (3, 2)),
        ((2, 2, 6, 4, 3), (3, 4)),
        ((2, 3, 2, 2), (5, 3)),
        ((1, 9, 7, 2), (1, 1)),
        ((2, 5, 4, 3, 2), (2, 3, 1)),
    ],
)
def test_adaptive_pools_equal_torch(shape, output_size):
    rank = len(output_size)
    for ours, name in ((nn.adaptive_avg_pool, "adaptive_avg_pool"), (nn.adaptive_max_pool, "adaptive_max_pool")):
        assert_parity(lambda x, f=ours: f(x, output_size), torch_pool(name, rank, output_size), normal(*shape))
    ties = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    theirs = torch_pool("adaptive_max_pool", rank, output_size)
    assert_parity(lambda x: nn.adaptive_max_pool(x, output_size), theirs, ties)


@pytest.mark.parametrize(
    ("shape", "rank"), [((2, 5, 3), None), ((2, 4, 5, 3), None), ((4, 5, 3), 2), ((2, 3, 4, 3), 1)]
)
def test_global_pools_equal_torch(shape, rank):
    axes = tuple(range(1, len(shape) - 1)) if rank is None else tuple(range(len(shape) - 1 - rank, len(shape) - 1))
    assert_parity(lambda x: nn.global_avg_pool(x, rank=rank), lambda x: x.mean(axes), normal(*shape))
    assert_parity(lambda x: nn.global_max_pool(x, rank=rank), lambda x: x.amax(axes), normal(*shape))


def test_at_ties_global_max_pool_gives_the_first_maximum_the_gradient():
    gradient = jax.grad(lambda x: jnp.sum(nn.global_max_pool(x)))(jnp.ones((2, 2, 3, 1)))
    np.testing.assert_array_equal(gradient[..., 0], [[[1, 0, 0], [0, 0, 0]]] * 2)


def test_means_of_bfloat16_are_accumulated_in_float32():
    x = jnp.full((1, 32, 32, 1), 1.0078125, jnp.bfloat16)  # the number after 1; 1024 of them overflow bf16's 8 bits
    for y in (nn.avg_pool(x, (32, 32)), nn.global_avg_pool(x), nn.adaptive_avg_pool(x, (1, 1))):
        assert y.dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.asarray(y, np.float32), 1.0078125)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: nn.max_pool(x, 2), TypeError, r"max_pool: window must hold one size .* got 2; write \(3,\)"),
        (lambda x: nn.max_pool(x[0, 0], (2, 2)), ValueError, r"max_pool: x must have 2 spatial axes .*got x \[5, 3\]"),
        (lambda x: nn.max_pool(x, (6, 2)), ValueError, r"max_pool: the window spans 6 entries.*spatial axis 0 has 4"),
        (lambda x: nn.max_pool(x, (2, 2), padding=2), ValueError, r"padding must be smaller than the window \(2, 2\)"),
        (lambda x: nn.max_pool(x, (2, 2), stride=0), ValueError, r"max_pool: stride must be an int of at least 1"),
        (lambda x: nn.max_pool(x > 0, (2, 2)), TypeError, r"max_pool: x must be floating point, got bool"),
        (lambda x: nn.avg_pool(x.astype(int), (2, 2)), TypeError, r"avg_pool: x must be floating point, got int32"),
        (lambda x: nn.avg_pool(x, (2, 2), padding="full"), ValueError, r'avg_pool: padding must be "SAME"'),
        (lambda x: nn.global_avg_pool(x, rank=4), ValueError, r"global_avg_pool: x must be .* and rank 4"),
        (lambda x: nn.global_max_pool(x[0, 0]), ValueError, r"x must be .*got x \[5, 3\] and rank None"),
        (lambda x: nn.global_max_pool(x[:, :0]), ValueError, r"global_max_pool: the spatial axes of x are empty"),
        (lambda x: nn.adaptive_avg_pool(x, 7), TypeError, r"adaptive_avg_pool: output_size must hold one size"),
        (lambda x: nn.adaptive_max_pool(x, (0, 1)), ValueError, r"adaptive_max_pool: output_size must be an int of at"),
        (lambda x: nn.adaptive_max_pool(x[:, :0], (1, 1)), ValueError, r"adaptive_max_pool: the spatial axes of x are"),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.ones((2, 4, 5, 3)))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_bin(bad):
    x = np.array([1.0, 2.0, bad, 4.0], np.float32).reshape(1, 4, 1)
    expected = torch.nn.functional.adaptive_avg_pool1d(torch.tensor(x[..., 0]), 2)
    np.testing.assert_array_equal(nn.adaptive_avg_pool(jnp.asarray(x), (2,))[..., 0], expected)
