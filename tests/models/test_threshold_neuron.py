"""Threshold neurons: what they can compute, and what happens on the threshold."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import nn
from jaxnets.models import ThresholdNetworkConfig, ThresholdNeuronConfig, threshold_network, threshold_neuron

SQUARE = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def test_the_network_is_pytorchs_linear_layers_with_steps():
    model = threshold_network(ThresholdNetworkConfig(3, 5, 2))
    params, state = model.init(jax.random.key(0))
    params["hidden"]["bias"] = jax.random.normal(jax.random.key(1), (5,))
    params["output"]["bias"] = jax.random.normal(jax.random.key(2), (2,))
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    expected = torch.tensor(x)
    for layer in ("hidden", "output"):
        kernel, bias = (torch.tensor(np.array(params[layer][name])) for name in ("kernel", "bias"))
        expected = (expected @ kernel + bias > 0).float()
    outputs, _ = model.apply(params, state, jnp.asarray(x), train=False)
    np.testing.assert_array_equal(outputs, expected)
    assert 0 < float(outputs.mean()) < 1


def test_a_sum_of_exactly_0_gives_0_while_heaviside_gives_a_half():
    params = {"kernel": jnp.array([[1.0]]), "bias": jnp.array([-2.0])}
    x = jnp.array([[np.nextafter(np.float32(2), np.float32(0))], [2.0], [np.nextafter(np.float32(2), np.float32(3))]])
    outputs, _ = threshold_neuron(ThresholdNeuronConfig(1)).apply(params, {}, x, train=False)
    assert outputs.ravel().tolist() == [0, 0, 1]
    assert nn.heaviside(x - 2.0).ravel().tolist() == [0, 0.5, 1]


def test_one_neuron_computes_14_of_the_16_functions_of_two_bits_and_two_layers_all():
    """XOR and its negation are the two that no line separates."""
    numbers = np.array(list(itertools.product(np.arange(-2, 2.5, 0.5), repeat=3)), np.float32)
    kernels, biases = jnp.asarray(numbers[:, :2].T), jnp.asarray(numbers[:, 2])
    neurons = threshold_neuron(ThresholdNeuronConfig(2, units=len(biases)))
    tables, _ = neurons.apply({"kernel": kernels, "bias": biases}, {}, SQUARE, train=False)
    found = {tuple(table) for table in np.asarray(tables).astype(int).T.tolist()}
    assert set(itertools.product([0, 1], repeat=4)) - found == {(0, 1, 1, 0), (1, 0, 0, 1)}

    or_and = {"kernel": jnp.ones((2, 2)), "bias": jnp.array([-0.5, -1.5])}
    output = {"kernel": jnp.array([[1.0, -1.0], [-1.0, 1.0]]), "bias": jnp.array([-0.5, 0.5])}
    network = threshold_network(ThresholdNetworkConfig(2, 2, 2))
    both, _ = network.apply({"hidden": or_and, "output": output}, {}, SQUARE, train=False)
    assert both.T.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_input_decides_the_dtype(dtype):
    model = threshold_neuron(ThresholdNeuronConfig(2, units=3))
    outputs, _ = model.apply(*model.init(jax.random.key(0)), SQUARE.astype(dtype), train=False)
    assert outputs.dtype == dtype


def test_wrong_inputs_are_refused():
    model = threshold_neuron(ThresholdNeuronConfig(2))
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ValueError, match="last axis must be 2"):
        model.apply(params, state, jnp.ones((4, 3)), train=False)
    with pytest.raises(TypeError, match="must be floating point"):
        model.apply(params, state, jnp.ones((4, 2), jnp.int32), train=False)
