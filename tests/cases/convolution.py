"""Cases of the convolutions."""

from jaxnets import nn
from tests.cases.case import Case, stateless
from tests.oracles import normal


def conv(name, spec, x, unbatched=False, **settings):
    return Case(name, (nn.conv,), spec, stateless(nn.conv, **settings), x, unbatched=unbatched)


def grouped(name, spec, x, **settings):
    return Case(name, (nn.grouped_conv,), spec, stateless(nn.grouped_conv, **settings), x)


def depthwise(name, spec, x, **settings):
    return Case(name, (nn.depthwise_conv,), spec, stateless(nn.depthwise_conv, **settings), x)


def transposed(name, spec, x, **settings):
    return Case(name, (nn.conv_transpose,), spec, stateless(nn.conv_transpose, **settings), x)


def grouped_transposed(name, spec, x, **settings):
    return Case(name, (nn.grouped_conv_transpose,), spec, stateless(nn.grouped_conv_transpose, **settings), x)


CASES = [
    conv("conv-1d", nn.conv_spec(4, 3, (3,)), normal(2, 7, 4)),
    conv("conv-2d", nn.conv_spec(4, 3, (3, 3)), normal(2, 5, 6, 4)),
    conv("conv-3d", nn.conv_spec(3, 2, (2, 3, 2)), normal(2, 3, 4, 3, 3)),
    conv("conv-few-channels", nn.conv_spec(1, 5, (2, 2), bias=False), normal(2, 4, 5, 1)),
    conv("conv-1x1-strided", nn.conv_spec(3, 2, (1, 1)), normal(2, 5, 4, 3), stride=2),
    conv("conv-strided", nn.conv_spec(4, 3, (3, 3)), normal(2, 6, 7, 4), stride=(2, 3), padding="VALID"),
    conv("conv-dilated", nn.conv_spec(4, 3, (3, 3)), normal(2, 6, 7, 4), dilation=(2, 1), padding=((2, 1), 0)),
    conv("conv-no-batch", nn.conv_spec(4, 3, (3, 3)), normal(5, 6, 4), unbatched=True, padding=1),
    conv("conv-leading-axes", nn.conv_spec(4, 3, (3, 3)), normal(2, 3, 4, 5, 4), stride=2),
    grouped("grouped-conv-1d", nn.grouped_conv_spec(4, 6, (3,), groups=2), normal(2, 5, 4), stride=2),
    grouped("grouped-conv-2d", nn.grouped_conv_spec(4, 2, (2, 3), groups=2), normal(2, 4, 5, 4)),
    grouped("grouped-conv-many", nn.grouped_conv_spec(18, 9, (2, 2), groups=9), normal(2, 3, 4, 18)),
    depthwise("depthwise-conv-1d", nn.depthwise_conv_spec(3, (4,)), normal(2, 6, 3), padding=((3, 0),)),
    depthwise("depthwise-conv-2d", nn.depthwise_conv_spec(3, (3, 3), multiplier=2), normal(2, 5, 4, 3), stride=2),
    depthwise("depthwise-conv-3d", nn.depthwise_conv_spec(3, (2, 2, 2)), normal(2, 3, 3, 2, 3)),
    transposed("conv-transpose-1d", nn.conv_transpose_spec(3, 2, (4,)), normal(2, 4, 3), stride=2),
    transposed(
        "conv-transpose-2d",
        nn.conv_transpose_spec(3, 2, (3, 3)),
        normal(2, 3, 4, 3),
        stride=2,
        padding=1,
        output_padding=1,
    ),
    transposed("conv-transpose-3d", nn.conv_transpose_spec(3, 2, (2, 3, 2)), normal(2, 2, 3, 2, 3), stride=(2, 1, 3)),
    transposed("conv-transpose-leading-axes", nn.conv_transpose_spec(3, 2, (2, 2)), normal(2, 2, 3, 2, 3)),
    grouped_transposed(
        "grouped-conv-transpose",
        nn.grouped_conv_transpose_spec(6, 4, (3, 2), groups=2),
        normal(2, 3, 4, 6),
        stride=2,
        padding="VALID",
    ),
]
