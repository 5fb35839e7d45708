"""Causal padding against PyTorch, and what it is for."""

import numpy as np
import pytest
import torch

from jaxnets import nn
from tests.oracles import normal


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("sizes", [(9,), (7, 8)])
def test_causal_padding_is_pytorch_with_zeros_before(sizes, stride, dilation):
    x, kernel = normal(2, *sizes, 3), normal(*(3, 2)[: len(sizes)], 3, 4)
    y = nn.conv({"kernel": kernel}, x, stride=stride, padding="CAUSAL", dilation=dilation)
    before = [side for width in reversed(kernel.shape[:-2]) for side in (dilation * (width - 1), 0)]
    padded = torch.nn.functional.pad(torch.tensor(np.moveaxis(x, -1, 1)), before)
    run = getattr(torch.nn.functional, f"conv{len(sizes)}d")
    weight = torch.tensor(np.moveaxis(kernel, (-1, -2), (0, 1)))
    expected = np.moveaxis(run(padded, weight, stride=stride, dilation=dilation).numpy(), 1, -1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_what_comes_later_does_not_change_a_causal_convolution():
    x = normal(1, 10, 3)
    changed = np.concatenate([x[:, :6], normal(1, 4, 3) + 9], axis=1)
    kernel = {"kernel": normal(4, 3, 5)}
    first, second = (nn.conv(kernel, a, padding="CAUSAL") for a in (x, changed))
    np.testing.assert_array_equal(first[:, :6], second[:, :6])
    assert (first[:, 6:] != second[:, 6:]).all()
