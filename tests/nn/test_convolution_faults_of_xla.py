"""Convolutions that XLA for CPU computes wrongly or cannot compile, against PyTorch."""

import pytest

from jaxnets import nn
from jaxnets.backend import plain_forms
from tests.nn.test_convolution import dense_weight, parameters, torch_conv, torch_conv_transpose
from tests.oracles import normal
from tests.torch_oracle import assert_parity


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize(
    ("kernel", "shape", "padding", "options"),
    [
        ((2, 8, 8), (8, 30, 8), [(3, 0)], {}),
        ((2, 8, 8), (8, 30, 8), [(3, 0)], {"stride": 2}),
        ((3, 3, 4, 2), (4, 9, 8, 2), [(5, 0), (1, 4)], {"stride": (3, 1), "dilation": (1, 2)}),
    ],
)
def test_more_may_be_cut_off_than_the_kernel_spans(enter, form, kernel, shape, padding, options):
    if form == "plain":
        enter(plain_forms("convolution"))
    whole = torch_conv_transpose(dense_weight, **options)

    def cut(params, x):
        y = whole(params, x)
        sizes = y.shape[1:-1]
        return y[(slice(None), *(slice(b, size - a) for (b, a), size in zip(padding, sizes, strict=True)))]

    assert_parity(
        lambda p, x: nn.conv_transpose(p, x, padding=padding, **options),
        cut,
        parameters(*kernel, out=kernel[-2]),
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("layer", "oracle", "shape", "padding"),
    [
        (nn.conv, torch_conv, (7, 3, 4, 1), [(2, 2), (1, 1)]),
        (nn.conv_transpose, torch_conv_transpose, (7, 2, 3, 4), (2, 1)),
    ],
)
def test_an_axis_that_xla_takes_for_one_of_groups(layer, oracle, shape, padding):
    # XLA's simplification of the gradient of x, and of the transposed convolution, ended the process
    options = {"stride": (3, 2), "padding": padding}
    params = parameters(3, 2, 1, 4)
    assert_parity(
        lambda p, x: layer(p, x, **options),
        oracle(dense_weight, **options),
        params,
        normal(*shape),
        rtol=1e-4,
        atol=1e-4,
    )
