"""Convolutions against PyTorch and lax, their starting values, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from jaxnets import init, nn, torch_defaults
from jaxnets.backend import plain_forms
from tests.oracles import assert_close, normal
from tests.torch_oracle import assert_parity

TORCH_CONV = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
TORCH_CONV_TRANSPOSE = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}


def channels_first(x, rank):
    """`[..., *spatial, channels]` as PyTorch wants it, and the leading shape."""
    leading = x.shape[: x.ndim - rank - 1]
    return x.reshape(-1, *x.shape[x.ndim - rank - 1 :]).movedim(-1, 1), leading


def channels_last(y, leading):
    y = y.movedim(1, -1)
    return y.reshape(*leading, *y.shape[1:])


def torch_conv(weight_of, groups=1, padding=0, **options):
    """The oracle; `weight_of` turns our kernel into PyTorch's, padding is an int or one pair for each axis."""

    def run(params, x):
        weight = weight_of(params["kernel"])
        rank = weight.ndim - 2
        x, leading = channels_first(x, rank)
        pairs = [(padding, padding)] * rank if isinstance(padding, int) else padding
        x = torch.nn.functional.pad(x, [side for pair in reversed(pairs) for side in pair])
        return channels_last(TORCH_CONV[rank](x, weight, params.get("bias"), groups=groups, **options), leading)

    return run


def torch_conv_transpose(weight_of, **options):
    def run(params, x):
        weight = weight_of(params["kernel"])
        x, leading = channels_first(x, weight.ndim - 2)
        return channels_last(TORCH_CONV_TRANSPOSE[weight.ndim - 2](x, weight, params.get("bias"), **options), leading)

    return run


def dense_weight(kernel):
    """`[*window, in, out]` to `[out, in, *window]`; of a transposed convolution to `[in, out, *window]`."""
    return kernel.movedim((-1, -2), (0, 1))


def grouped_weight(kernel):
    """`[*window, groups, in, out]` to `[groups * out, in, *window]`; transposed likewise with in and out exchanged."""
    return kernel.movedim((-3, -1, -2), (0, 1, 2)).flatten(0, 1)


def depthwise_weight(kernel):
    """`[*window, channels, multiplier]` to `[channels * multiplier, 1, *window]`."""
    return kernel.movedim((-2, -1), (0, 1)).flatten(0, 1)[:, None]


def parameters(*kernel_shape, out=None):
    params = {"kernel": normal(*kernel_shape, seed=1)}
    return params if out is None else {**params, "bias": normal(out, seed=2)}


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("window", "shape", "out", "options"),
    [
        ((3,), (2, 9, 4), 5, {"stride": 2, "padding": 1}),
        ((3,), (9, 4), 5, {"dilation": 2, "padding": 2}),
        ((3, 3), (2, 8, 7, 4), 6, {}),
        ((3, 2), (2, 8, 7, 4), 6, {"stride": (2, 3), "padding": 1, "dilation": (1, 2)}),
        ((3, 3), (2, 3, 2, 5, 6, 2), 3, {"padding": [(2, 0), (0, 1)]}),
        ((3, 3), (2, 6, 6, 1), 9, {"padding": 1}),
        ((1, 1), (2, 6, 5, 4), 3, {"stride": 2, "padding": 1}),
        ((2, 3, 2), (2, 4, 5, 6, 3), 4, {"stride": (2, 1, 2), "padding": 1, "dilation": (1, 2, 1)}),
        # the padding before is as large as the kernel: XLA's gradients of x would read beside their input
        ((2,), (8, 30, 8), 8, {"padding": [(4, 0)]}),
        ((3, 3), (4, 22, 14, 2), 3, {"padding": [(2, 2), (3, 1)]}),
        ((2, 3), (3, 9, 8, 4), 5, {"padding": [(4, 1), (5, 0)], "stride": (2, 1), "dilation": (1, 2)}),
        ((1, 2, 2), (2, 3, 7, 6, 4), 4, {"padding": [(1, 0), (2, 0), (3, 1)]}),
    ],
)
def test_conv_equals_torch(enter, form, window, shape, out, options):
    if form == "plain":
        enter(plain_forms("convolution"))
    params = parameters(*window, shape[-1], out, out=out)
    assert_parity(
        lambda p, x: nn.conv(p, x, **{"padding": "VALID", **options}),
        torch_conv(dense_weight, **options),
        params,
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("kernel", "shape", "options"),
    [
        ((3, 2, 2, 3), (2, 9, 4), {"stride": 2, "padding": 1}),
        ((3, 2, 3, 2, 1), (2, 6, 5, 6), {"padding": [(1, 0), (0, 2)], "dilation": 2}),
        ((2, 2, 9, 2, 3), (4, 5, 18), {"stride": 2}),
        ((2, 2, 2, 2, 3, 1), (1, 3, 4, 3, 6), {"stride": (1, 2, 1)}),
    ],
)
def test_grouped_conv_equals_torch(enter, form, kernel, shape, options):
    if form == "plain":
        enter(plain_forms("convolution"))
    groups, _, out = kernel[-3:]
    assert_parity(
        lambda p, x: nn.grouped_conv(p, x, **{"padding": "VALID", **options}),
        torch_conv(grouped_weight, groups=groups, **options),
        parameters(*kernel, out=groups * out),
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("kernel", "shape", "options"),
    [
        ((4, 3, 1), (2, 9, 3), {"padding": [(3, 0)]}),
        ((3, 3, 5, 1), (2, 7, 6, 5), {"stride": 2, "padding": 1}),
        ((3, 2, 4, 3), (6, 5, 4), {"dilation": (1, 2)}),
        ((9, 9, 2, 1), (1, 9, 10, 2), {"padding": 4}),
        ((2, 2, 2, 3, 2), (2, 3, 4, 3, 3), {"stride": (1, 2, 1)}),
    ],
)
def test_depthwise_conv_equals_torch(enter, form, kernel, shape, options):
    if form == "plain":
        enter(plain_forms("convolution"))
    channels, multiplier = kernel[-2:]
    assert_parity(
        lambda p, x: nn.depthwise_conv(p, x, **{"padding": "VALID", **options}),
        torch_conv(depthwise_weight, groups=channels, **options),
        parameters(*kernel, out=channels * multiplier),
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("kernel", "shape", "options"),
    [
        ((4, 3, 2), (2, 5, 2), {"stride": 2, "padding": 1}),
        ((3, 3, 2, 4), (2, 3, 4, 4), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((3, 2, 2, 4), (3, 4, 4), {"stride": (1, 3), "padding": (0, 1), "output_padding": (0, 2), "dilation": (2, 1)}),
        ((2, 2, 3, 2), (2, 2, 3, 4, 2), {"stride": 3, "padding": 1, "output_padding": 2}),
        ((3, 3, 1, 2), (2, 4, 3, 2), {"dilation": 3, "output_padding": 2}),
        ((2, 3, 2, 2, 3), (2, 2, 3, 2, 3), {"stride": (2, 1, 3), "padding": (1, 1, 0), "output_padding": (1, 0, 2)}),
    ],
)
def test_conv_transpose_equals_torch(enter, form, kernel, shape, options):
    if form == "plain":
        enter(plain_forms("convolution"))
    assert_parity(
        lambda p, x: nn.conv_transpose(p, x, **{"padding": "VALID", **options}),
        torch_conv_transpose(dense_weight, **options),
        parameters(*kernel, out=kernel[-2]),
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(("groups", "rank"), [(2, 1), (3, 2), (9, 2), (2, 3)])
def test_grouped_conv_transpose_equals_torch(groups, rank):
    window = (3, 2, 2)[:rank]
    assert_parity(
        lambda p, x: nn.grouped_conv_transpose(p, x, stride=2, padding=1, output_padding=1),
        torch_conv_transpose(grouped_weight, groups=groups, stride=2, padding=1, output_padding=1),
        parameters(*window, groups, 3, 2, out=groups * 3),
        normal(2, *(4, 3, 3)[:rank], groups * 2),
        rtol=1e-4,
        atol=1e-4,
    )


@st.composite
def convolutions(draw):
    """A kernel shape, an input shape and settings that fit together."""
    rank = draw(st.integers(1, 2))
    axis = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 3), st.integers(0, 3))
    window, stride, dilation, before, after = zip(*draw(st.lists(axis, min_size=rank, max_size=rank)), strict=True)
    sizes = [
        max(1, (w - 1) * d + 1 - b - a) + draw(st.integers(0, 5))
        for w, d, b, a in zip(window, dilation, before, after, strict=True)
    ]
    groups, fan_in, out = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 5))
    settings = {"stride": stride, "dilation": dilation, "padding": list(zip(before, after, strict=True))}
    return (*window, groups, fan_in, out), (2, *sizes, groups * fan_in), settings


@pytest.mark.slow
@settings(deadline=None, max_examples=25, derandomize=True)
@given(convolutions())
def test_any_convolution_equals_torch(convolution):
    kernel, shape, options = convolution
    groups, _, out = kernel[-3:]
    assert_parity(
        lambda p, x: nn.grouped_conv(p, x, **options),
        torch_conv(grouped_weight, groups=groups, **options),
        parameters(*kernel, out=groups * out),
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("size", [5, 6, 7, 8])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])
def test_same_padding_is_that_of_lax(size, stride, dilation):
    kernel, x = normal(3, 2, 4, seed=1), normal(2, size, 2)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride,), "SAME", rhs_dilation=(dilation,), dimension_numbers=("NHC", "HIO", "NHC")
    )
    assert_close(nn.conv({"kernel": kernel}, x, stride=stride, dilation=dilation), expected)


@pytest.mark.parametrize(("window", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (4, 2, 1), (2, 3, 1), (3, 2, 2)])
def test_transposed_same_is_that_of_lax_and_the_adjoint_of_conv(window, stride, dilation):
    kernel, x = normal(window, 4, 2, seed=1), normal(2, 5, 2)
    settings = {"stride": stride, "dilation": dilation}
    y = nn.conv_transpose({"kernel": kernel}, x, **settings)
    expected = jax.lax.conv_transpose(
        x,
        kernel,
        (stride,),
        "SAME",
        rhs_dilation=(dilation,),
        dimension_numbers=("NHC", "HIO", "NHC"),
        transpose_kernel=True,
    )
    assert_close(y, expected)
    image = normal(*y.shape, seed=3)
    assert_close(jnp.vdot(nn.conv({"kernel": kernel}, image, **settings), x), jnp.vdot(image, y), rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "fan_in", "torch_layer"),
    [
        (nn.conv_spec(20, 40, (3, 5)), 300, torch.nn.Conv2d(20, 40, (3, 5))),
        (nn.grouped_conv_spec(40, 80, (3, 5), groups=2), 300, torch.nn.Conv2d(40, 80, (3, 5), groups=2)),
        (nn.depthwise_conv_spec(400, (5, 5), multiplier=2), 25, torch.nn.Conv2d(400, 800, (5, 5), groups=400)),
        (nn.conv_transpose_spec(20, 40, (3, 5)), 300, torch.nn.ConvTranspose2d(20, 40, (3, 5))),
        (
            nn.grouped_conv_transpose_spec(40, 80, (3, 5), groups=2),
            300,
            torch.nn.ConvTranspose2d(40, 80, (3, 5), groups=2),
        ),
    ],
    ids=["dense", "grouped", "depthwise", "transposed", "grouped-transposed"],
)
def test_starting_values(spec, fan_in, torch_layer):
    params, _ = init(spec, jax.random.key(0))
    np.testing.assert_allclose(np.std(params["kernel"]), fan_in**-0.5, rtol=0.03)
    np.testing.assert_array_equal(params["bias"], 0)
    params, _ = init(torch_defaults(spec), jax.random.key(0))
    weight, bias = torch_layer.weight.detach().numpy(), torch_layer.bias.detach().numpy()
    assert params["kernel"].size == weight.size
    assert params["bias"].shape == bias.shape
    np.testing.assert_allclose(np.max(np.abs(params["kernel"])), np.max(np.abs(weight)), rtol=5e-3)
    np.testing.assert_allclose(np.max(np.abs(params["bias"])), np.max(np.abs(weight)), rtol=0.15)


def test_settings_may_be_numpy_integers():
    kernel, x = normal(3, 2, 4, seed=1), normal(2, 5, 2)
    two, one = np.int64(2), np.int32(1)
    assert_close(
        nn.conv({"kernel": kernel}, x, stride=two, padding=[(one, one)], dilation=(one,)),
        nn.conv({"kernel": kernel}, x, stride=2, padding=1),
    )


def test_parameters_without_bias():
    assert set(nn.conv_spec(2, 4, (3,), bias=False)) == {"kernel"}
    kernel, x = normal(3, 2, 4, seed=1), normal(2, 5, 2)
    biased = nn.conv({"kernel": kernel, "bias": jnp.full(4, 2.0)}, x)
    assert_close(nn.conv({"kernel": kernel}, x) + 2, biased)


PARAMS = {"kernel": jnp.ones((3, 3, 4, 2)), "bias": jnp.ones(2)}


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 5, 5, 3), {}, r"conv: last axis must be 4 \(kernel \[3, 3, 4, 2\]\), got x \[2, 5, 5, 3\]"),
        ((2, 4, 5, 5), {}, r"got x \[2, 4, 5, 5\]; channels are the last axis: write jnp.moveaxis\(x, 1, -1\)"),
        ((4, 5, 5), {}, r"got x \[4, 5, 5\]; channels are the last axis: write jnp.moveaxis\(x, 0, -1\)"),
        ((5, 4), {}, r"conv: x must have 2 spatial axes and one of channels.*kernel \[3, 3, 4, 2\], got x \[5, 4\]"),
        ((1, 2, 5, 4), {"padding": "VALID"}, r"the window spans 3 entries.*spatial axis 0 has 2, with padding 2"),
        ((1, 5, 4, 4), {"padding": "VALID", "dilation": 2}, r"spans 5 entries \(window 3, dilation 2\).*axis 1 has 4"),
        ((1, 0, 5, 4), {}, r"spatial axis 0 of x is empty"),
        ((1, 5, 5, 4), {"padding": "same"}, r'padding must be "SAME", "VALID", .*got \'same\''),
        ((1, 5, 5, 4), {"padding": -1}, r"padding must be .*got -1"),
        ((1, 5, 5, 4), {"padding": (1, 1, 1)}, r"for each of the 2 spatial axes.*got \(1, 1, 1\)"),
        ((1, 5, 5, 4), {"padding": ((1, 1, 1), 1)}, r"a pair \(before, after\), got \(\(1, 1, 1\), 1\)"),
        ((1, 5, 5, 4), {"padding": (0.5, 1)}, r"conv: padding must be .*got \(0.5, 1\)"),
        ((1, 5, 5, 4), {"padding": None}, r"conv: padding must be .*got None"),
        ((1, 5, 5, 4), {"stride": 0}, r"conv: stride must be an int of at least 1, or 2 of them .*got 0"),
        ((1, 5, 5, 4), {"stride": (2,)}, r"conv: stride must be .*got \(2,\)"),
        ((1, 5, 5, 4), {"dilation": 1.5}, r"conv: dilation must be .*got 1.5"),
    ],
)
def test_errors_of_conv(shape, options, message):
    with pytest.raises(ValueError, match=message):
        nn.conv(PARAMS, jnp.ones(shape), **options)


def test_errors_of_other_convolutions():
    x = jnp.ones((1, 5, 5, 4))
    with pytest.raises(TypeError, match=r"conv: x must be floating point, got int32"):
        nn.conv(PARAMS, jnp.ones((1, 5, 5, 4), jnp.int32))
    with pytest.raises(ValueError, match=r"conv: kernel must have one to three spatial axes.*got \[4, 2\]"):
        nn.conv({"kernel": jnp.ones((4, 2))}, x)
    with pytest.raises(ValueError, match=r"grouped_conv: last axis must be 6 \(kernel \[3, 3, 2, 3, 1\]\), got x"):
        nn.grouped_conv({"kernel": jnp.ones((3, 3, 2, 3, 1))}, x)
    with pytest.raises(
        ValueError, match=r"grouped_conv: kernel must be \[\*kernel_size, groups, in, out\], got \[3, 4, 2\]"
    ):
        nn.grouped_conv({"kernel": jnp.ones((3, 4, 2))}, x)
    with pytest.raises(ValueError, match=r"got x \[2, 6, 5, 5\]; channels are the last axis: write jnp.moveaxis"):
        nn.grouped_conv({"kernel": jnp.ones((3, 3, 2, 3, 1))}, jnp.ones((2, 6, 5, 5)))
    with pytest.raises(ValueError, match=r"got x \[9, 5, 5\]; images of one channel .*write x\[..., None\]$"):
        nn.conv({"kernel": jnp.ones((3, 3, 1, 2))}, jnp.ones((9, 5, 5)))
    with pytest.raises(ValueError, match=r"depthwise_conv: last axis must be 3 \(kernel \[3, 3, 3, 1\]\), got x"):
        nn.depthwise_conv({"kernel": jnp.ones((3, 3, 3, 1))}, x)
    with pytest.raises(ValueError, match=r"conv_transpose: last axis must be 2 \(kernel \[3, 3, 4, 2\]\), got x"):
        nn.conv_transpose(PARAMS, x)
    with pytest.raises(ValueError, match=r"output_padding must be smaller than stride or dilation, got output_padding"):
        nn.conv_transpose({"kernel": jnp.ones((3, 3, 2, 4))}, x, padding=1, stride=2, output_padding=2)
    with pytest.raises(ValueError, match=r'"SAME" fixes the size of the result'):
        nn.conv_transpose({"kernel": jnp.ones((3, 3, 2, 4))}, x, stride=2, output_padding=1)
    with pytest.raises(ValueError, match=r"leaves nothing of the result, whose spatial sizes would be \(-1, -1\)"):
        nn.conv_transpose({"kernel": jnp.ones((3, 3, 2, 4))}, x, padding=4)


def test_errors_of_specs():
    with pytest.raises(TypeError, match=r"kernel_size must hold one size for each spatial axis, got 3; write \(3,\)"):
        nn.conv_spec(4, 2, 3)
    with pytest.raises(ValueError, match=r"kernel_size must have one to three axes, got \(3, 3, 3, 3\)"):
        nn.conv_spec(4, 2, (3, 3, 3, 3))
    with pytest.raises(ValueError, match=r"kernel_size must be an int of at least 1.*got \(3, 0\)"):
        nn.depthwise_conv_spec(4, (3, 0))
    with pytest.raises(ValueError, match=r"groups must be positive and divide .* got groups 3 for 4 and 6 channels"):
        nn.grouped_conv_spec(4, 6, (3,), groups=3)


@pytest.mark.parametrize(
    ("spec", "fan_in", "fan_out"),
    [
        (lambda **init: nn.conv_spec(64, 256, (3, 3), **init), 9 * 64, 9 * 256),
        (lambda **init: nn.depthwise_conv_spec(128, (3, 3), multiplier=2, **init), 9, 9 * 256),
        (lambda **init: nn.grouped_conv_spec(256, 128, (3, 3), groups=32, **init), 9 * 8, 9 * 128),
        (lambda **init: nn.conv_transpose_spec(16, 256, (3, 3), **init), 9 * 16, 9 * 256),
        (lambda **init: nn.grouped_conv_transpose_spec(64, 128, (3, 3), groups=4, **init), 9 * 16, 9 * 128),
        (lambda **init: nn.maxout_spec(64, 256, pieces=8, **init), 64, 8 * 256),
    ],
    ids=["dense", "depthwise", "grouped", "transposed", "grouped-transposed", "maxout"],
)
def test_initializers_get_the_fan_in_of_the_layer(spec, fan_in, fan_out):
    """He's and Glorot's variances; their initializers find out the fans by the order of the axes."""
    he, glorot = nn.initializers.he_normal(), nn.initializers.glorot_normal()
    for initializer, variance in ((he, 2 / fan_in), (glorot, 2 / (fan_in + fan_out))):
        kernel = init(spec(kernel_init=initializer), jax.random.key(0))[0]["kernel"]
        np.testing.assert_allclose(np.std(kernel), variance**0.5, rtol=0.05)


def test_groups_are_drawn_where_the_layer_reads_them():
    """Group g of the result sees input channels of group g: each group's kernel is one slice of what is drawn."""

    def counted(key, shape, dtype):
        return jnp.arange(np.prod(shape), dtype=dtype).reshape(shape)  # [*kernel_size, in / groups, out]

    params, _ = init(nn.grouped_conv_spec(4, 6, (1,), groups=2, kernel_init=counted, bias=False), jax.random.key(0))
    np.testing.assert_array_equal(params["kernel"][0], [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]])
    spec = nn.grouped_conv_transpose_spec(4, 6, (1,), groups=2, kernel_init=counted, bias=False)
    transposed, _ = init(spec, jax.random.key(0))
    np.testing.assert_array_equal(transposed["kernel"][0], [[[0, 6], [1, 7], [2, 8]], [[3, 9], [4, 10], [5, 11]]])
