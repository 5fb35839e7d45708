"""cuDNN's LSTM: what goes into the kernel and comes out, by JAX's own reference where there is no NVIDIA GPU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.experimental import rnn

from jaxnets import init, nn
from jaxnets.backend import trace_for
from tests.nn.test_recurrent import random_carry, random_params, torch_weights
from tests.oracles import normal

TIME, IN, HIDDEN = 5, 4, 2
ON_GPU = jax.default_backend() == "gpu"
TOLERANCE = 2e-3 if ON_GPU else 2e-6  # cuDNN multiplies in TF32
cudnn = functools.partial(nn.lstm, implementation="cudnn")


def reference(x, hidden, cell, weights, lengths, *, input_size, hidden_size, **_):
    arrays = rnn.unpack_lstm_weights(weights, input_size, hidden_size, 1, False)
    return rnn.lstm_ref(x, hidden, cell, *arrays, lengths, input_size, hidden_size, 1, 0.0, False)


def forward(*arguments, **settings):
    result = reference(*arguments, **settings)
    return result, (*arguments, result[0], jnp.zeros(1))


def backward(residuals, gradients, **settings):
    *arguments, lengths, _, _ = residuals
    _, pull = jax.vjp(lambda *arrays: reference(*arrays, lengths, **settings), *arguments)
    return *pull(gradients), jnp.zeros_like(lengths)


@pytest.fixture
def kernel(monkeypatch, enter):
    if not ON_GPU:
        enter(trace_for("gpu"))
        monkeypatch.setattr(rnn, "lstm_fwd", forward)
        monkeypatch.setattr(rnn, "lstm_bwd", backward)


def arrays(*leading, bias=True, seed=0):
    tree = (
        random_params(nn.lstm_spec(IN, HIDDEN, bias=bias), seed),
        random_carry("lstm", *leading, seed=50 + seed),
        normal(*leading, TIME, IN, seed=seed),
    )
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), tree)


def weighted_sum(layer, params, carry, x, **settings):
    y, end = layer(params, x, carry=carry, **settings)
    return sum(jnp.sum(array * jnp.cos(jnp.arange(array.size)).reshape(array.shape)) for array in (y, *end))


def assert_near(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=TOLERANCE, rtol=10 * TOLERANCE), ours, theirs)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", [(), (3,)])
def test_values_and_gradients_are_pytorch_s(leading, bias):
    trees = params, carry, x = arrays(*leading, bias=bias)
    y, end = cudnn(params, x, carry=carry)
    grads = jax.grad(functools.partial(weighted_sum, cudnn), argnums=(0, 1, 2))(*trees)
    module = torch.nn.LSTM(IN, HIDDEN, bias=bias, batch_first=True)
    leaves, structure = jax.tree.flatten(trees)
    tensors = [torch.tensor(np.asarray(leaf), requires_grad=True) for leaf in leaves]
    t_params, t_carry, t_x = jax.tree.unflatten(structure, tensors)
    weights, start = torch_weights(t_params, "_l0"), tuple(state[None] for state in t_carry)
    results = torch.func.functional_call(module, weights, (t_x, start))
    flat = [results[0], *(state[0] for state in results[1])]
    assert_near([y, *end], [array.detach().numpy() for array in flat])
    sum((array * torch.arange(array.numel()).cos().reshape(array.shape)).sum() for array in flat).backward()
    assert_near(jax.tree.leaves(grads), [tensor.grad.numpy() for tensor in tensors])


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("reverse", [False, True])
def test_it_is_the_scan_under_jit_and_with_several_leading_axes(reverse):
    params, carry, x = arrays(2, 3)
    ours = jax.jit(functools.partial(cudnn, reverse=reverse))(params, x, carry=carry)
    assert_near(ours, nn.lstm(params, x, carry=carry, reverse=reverse))
    assert_near(cudnn(params, x, reverse=reverse), nn.lstm(params, x, reverse=reverse))


@pytest.mark.usefixtures("kernel")
def test_it_can_be_mapped_over_networks_and_inputs():
    many = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arrays(3, seed=seed) for seed in range(4)))
    for in_axes in ((0, 0, 0), (0, None, None), (None, 0, 0)):
        trees = [
            tree if axis == 0 else jax.tree.map(lambda a: a[0], tree) for tree, axis in zip(many, in_axes, strict=True)
        ]
        results = []
        for layer in (cudnn, nn.lstm):
            gradient = jax.value_and_grad(functools.partial(weighted_sum, layer), argnums=(0, 1, 2))
            results.append(jax.vmap(gradient, in_axes)(*trees))
        assert_near(*results)


def test_what_cudnn_cannot_do_is_refused(enter):
    params, _ = init(nn.lstm_spec(IN, HIDDEN), jax.random.key(0))
    x = jnp.ones((3, TIME, IN))
    enter(trace_for("cpu"))
    with pytest.raises(ValueError, match=r"needs an NVIDIA GPU, this is traced for cpu; take implementation='scan'"):
        cudnn(params, x)
    enter(trace_for("gpu"))
    with pytest.raises(TypeError, match=r"float32 only, got x of bfloat16"):
        cudnn(params, x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match="takes no mask"):
        cudnn(params, x, mask=jnp.ones((3, TIME), bool))
    with pytest.raises(ValueError, match=r"must be 'scan' or 'cudnn', got 'keras'"):
        nn.lstm(params, x, implementation="keras")
