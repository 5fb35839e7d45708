"""Recurrent weights to and from PyTorch: equal bits on the way back, equal results in both libraries."""

import functools

import jax
import numpy as np
import pytest
import torch

from jaxnets import init, nn
from jaxnets.weights import recurrent_from_torch, recurrent_to_torch
from tests.oracles import assert_close, normal

IN, HIDDEN = 3, 4
KINDS = {
    "simple_rnn": (nn.simple_rnn, nn.simple_rnn_spec, torch.nn.RNN),
    "lstm": (nn.lstm, nn.lstm_spec, torch.nn.LSTM),
    "gru": (nn.gru, nn.gru_spec, torch.nn.GRU),
}
every_form = pytest.mark.parametrize(
    ("kind", "count", "both", "bias"),
    [
        (kind, *form)
        for kind in KINDS
        for form in [(1, False, True), (1, True, False), (2, False, True), (2, True, True)]
    ],
)


def spec_and_layer(kind, count, both, bias):
    """The spec in its simplest form, and the function that runs it."""
    sequence, make_spec, _ = KINDS[kind]
    layer = functools.partial(nn.bidirectional, sequence) if both else sequence
    spec = nn.stacked_spec(make_spec, IN, HIDDEN, count=count, bidirectional=both, bias=bias)
    return (spec[0], layer) if count == 1 else (spec, functools.partial(nn.stacked, layer))


def torch_module(kind, count, both, bias):
    torch.manual_seed(0)
    return KINDS[kind][2](IN, HIDDEN, num_layers=count, bidirectional=both, bias=bias, batch_first=True)


@every_form
def test_a_torch_module_gives_the_same_results_here(kind, count, both, bias):
    spec, layer = spec_and_layer(kind, count, both, bias)
    module = torch_module(kind, count, both, bias)
    params = recurrent_from_torch(module.state_dict(), spec)
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, spec)
    x = normal(2, 5, IN)
    assert_close(layer(params, x)[0], module(torch.tensor(x))[0], atol=1e-6)


@every_form
def test_parameters_give_the_same_results_in_torch_and_come_back_bit_by_bit(kind, count, both, bias):
    spec, layer = spec_and_layer(kind, count, both, bias)
    params, _ = init(spec, jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    noisy = [leaf + 0.2 * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
    params = jax.tree.unflatten(structure, noisy)
    weights = recurrent_to_torch(params)
    jax.tree.map(np.testing.assert_array_equal, recurrent_from_torch(weights, spec), params)
    module = torch_module(kind, count, both, bias)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    x = normal(2, 5, IN)
    assert_close(layer(params, x)[0], module(torch.tensor(x))[0], atol=1e-6)


def test_all_that_does_not_fit_is_listed_at_once():
    weights = recurrent_to_torch(init(nn.lstm_spec(IN, HIDDEN), jax.random.key(0))[0])
    del weights["bias_hh_l0"]
    weights["weight_hr_l0"] = np.zeros((2, 4))
    weights["weight_ih_l0"] = np.zeros((3, 16))
    with pytest.raises(ValueError, match="do not fit the spec") as caught:
        recurrent_from_torch(weights, nn.lstm_spec(IN, HIDDEN))
    problems = str(caught.value).split("spec: ")[1].split("; ")
    assert problems == [
        "missing bias_hh_l0 [16]",
        "unexpected weight_hr_l0 [2, 4]",
        "weight_ih_l0 must be [16, 3], got [3, 16]",
    ]


def test_weights_of_another_kind_are_refused():
    weights = recurrent_to_torch(init(nn.gru_spec(IN, HIDDEN), jax.random.key(0))[0])
    with pytest.raises(ValueError, match=r"weight_hh_l0 must be \[16, 4\], got \[12, 4\]"):
        recurrent_from_torch(weights, nn.lstm_spec(IN, HIDDEN))
