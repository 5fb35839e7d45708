"""Prompts of different lengths, against PyTorch's padding."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode

ROWS = [[5, 6, 7], [8], [9, 4]]


def test_padding_is_pytorchs():
    ids, lengths = decode.pad_prompts(ROWS, pad=1)
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ROWS], batch_first=True, padding_value=1)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(lengths, [3, 1, 2])
    assert decode.pad_prompts(ROWS, multiple=4)[0].shape == (3, 4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_is_moved_behind(side):
    rows = [torch.tensor(row) for row in ROWS]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0, padding_side=side)
    ids, lengths = decode.align_prompts(jnp.asarray(padded.numpy()), jnp.asarray(padded.numpy() != 0))
    for row, actual, length in zip(ROWS, np.asarray(ids), np.asarray(lengths), strict=True):
        assert actual[:length].tolist() == row


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        ([[1], []], ValueError, r"prompt 1 must be a list of at least one id, got an array \[0\]"),
        ([[1.5]], TypeError, "prompt must hold integers, got float64 in prompt 0"),
        ([[2**40]], ValueError, "sequence 0 holds 1099511627776 to 1099511627776, more than 32 bits can"),
        ([], ValueError, "there must be at least one prompt, got none"),
    ],
)
def test_what_is_no_prompt(prompts, error, message):
    with pytest.raises(error, match=message):
        decode.pad_prompts(prompts)


def test_a_width_of_no_multiple_is_an_error():
    with pytest.raises(ValueError, match="multiple must be an integer of at least 1, got 0"):
        decode.pad_prompts([[1]], multiple=0)


def test_a_mask_of_numbers_is_an_error():
    with pytest.raises(TypeError, match=r"the mask must be boolean, got int32; write mask.astype\(bool\)"):
        decode.align_prompts(jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), jnp.int32))
