"""The gradients of deep perceptrons against PyTorch's, the bound of the logistic function, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from experiments import vanishing_gradients as experiment
from jaxnets import losses
from jaxnets.models import MLPConfig, mlp
from jaxnets.training import TrainState, init_train_state

X = np.random.default_rng(0).uniform(size=(16, 64)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 10, 16).astype(np.int32)
NUMBERS = {name: number for number, name in enumerate(experiment.ACTIVATIONS)}
TORCH = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "ReLU": torch.relu}


def begin(depth, activation, name, width=12):
    treatment = experiment.TREATMENTS[name]
    model = experiment.make_network(depth, width, NUMBERS[activation], treatment)
    return model, init_train_state(model, experiment.make_optimizer(experiment.Config(), treatment.largest_norm), 3)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("sigmoid", "orthogonal"),
        ("tanh", "too large"),
        ("ReLU", "batch norm"),
        ("tanh", "residual"),
        ("sigmoid", "residual + batch norm"),
    ],
)
def test_norms_are_pytorchs(activation, name):
    model, start = begin(7, activation, name)
    treatment = experiment.TREATMENTS[name]
    kernels = [torch.tensor(np.array(layer["linear"]["kernel"])) for layer in start.params["layers"]]
    for kernel in kernels:
        kernel.requires_grad_()
    x = torch.tensor(X)
    for kernel in kernels[:-1]:  # all biases start as zeros
        y = x @ kernel
        if treatment.norm:
            y = torch.nn.functional.batch_norm(y, None, None, training=True)
        y = TORCH[activation](y)
        x = x + y if treatment.residual and x.shape == y.shape else y
    torch.nn.functional.cross_entropy(x @ kernels[-1], torch.tensor(LABELS).long()).backward()
    expected = [kernel.grad.norm().item() for kernel in kernels]
    norms = jax.jit(lambda start: experiment.gradient_norms(model, start, (X, LABELS)))(start)
    np.testing.assert_allclose(norms, expected, rtol=2e-3)


def deltas(model, params):
    """The norms of the derivatives by the layers' sums for one example: those by the biases."""

    def loss(params):
        logits, _ = model.apply(params, {}, X[:1], train=True)
        return losses.cross_entropy(logits, LABELS[:1])[0]

    gradient = jax.jit(jax.grad(loss))(params)
    return np.array([np.linalg.norm(layer["linear"]["bias"]) for layer in gradient["layers"]])


def test_a_sigmoid_layer_passes_on_a_quarter_at_most():
    """|delta_l| <= |W_(l+1)| |delta_(l+1)| / 4; with orthogonal kernels |W| = 1."""
    model, start = begin(20, "sigmoid", "orthogonal")
    norms = deltas(model, start.params)
    assert np.all(norms[:-1] <= norms[1:] / 4 * 1.0001)
    assert norms[0] > 0


def test_sigmoids_at_zero_pass_on_exactly_a_quarter():
    """With inputs and biases that keep every sum at 0 the derivative is 1/4 in every layer."""
    model, start = begin(9, "sigmoid", "orthogonal")
    *hidden, last = start.params["layers"]
    # Each layer's input is 1/2 everywhere behind the first, so that this bias makes the sum 0.
    inputs = [X[0], *[np.full(12, 0.5, np.float32)] * len(hidden)]
    for layer, x in zip(hidden, inputs, strict=False):
        layer["linear"]["bias"] = -(x @ layer["linear"]["kernel"])
    norms = deltas(model, {"layers": [*hidden, last]})
    np.testing.assert_allclose(norms[:-2] / norms[1:-1], 0.25, rtol=1e-4)


def test_orthogonal_layers_without_activation_keep_the_norm():
    model = mlp(
        MLPConfig((64, *[12] * 8, 10), activation="identity"), kernel_init=experiment.INITIALIZERS["orthogonal"]
    )
    params, _ = model.init(jax.random.key(5))
    norms = deltas(model, params)
    np.testing.assert_allclose(norms[:-1], norms[-2], rtol=1e-4)


def test_clipping_bounds_the_first_step_and_infinity_leaves_it():
    """v = g min(1, limit / |g|), and the step is rate * v."""
    config = experiment.Config(learning_rate=0.5)
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    for limit, norm in ((1.0, 0.5), (np.inf, 2.5), (10.0, 2.5)):
        optimizer = experiment.make_optimizer(config, limit)
        update, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
        np.testing.assert_allclose(np.linalg.norm([*update["a"], *update["b"][0]]), norm, rtol=1e-6)


@pytest.mark.slow
def test_a_network_among_many_is_trained_as_alone():
    """One of the vmapped networks against PyTorch's clipping and momentum."""
    config = experiment.Config(width=8, steps=4, seeds=2, batch_size=8, seed=6)
    names = ["LeCun", "too large, clipped"]
    initial = experiment.initialize(config, 3, names)
    norms, loss, accuracy, params = experiment.train(config, names, initial, (X, LABELS))
    assert norms.shape == (3, 2, 2, 3)
    assert loss.shape == accuracy.shape == (3, 2, 2, 4)
    start: TrainState = jax.tree.map(lambda leaf: leaf[1, 1], initial)
    arrays = [torch.tensor(np.array(leaf), requires_grad=True) for leaf in jax.tree.leaves(start.params)]
    optimizer = torch.optim.SGD(arrays, lr=config.learning_rate, momentum=0.9)
    for step in range(4):
        part = slice(0, 8) if step % 2 == 0 else slice(8, 16)
        x = torch.tensor(X[part])
        for layer in range(3):  # bias and kernel of each, in alphabetical order
            x = x @ arrays[2 * layer + 1] + arrays[2 * layer]
            x = torch.tanh(x) if layer < 2 else x
        value = torch.nn.functional.cross_entropy(x, torch.tensor(LABELS[part]).long())
        np.testing.assert_allclose(loss[NUMBERS["tanh"], 1, 1, step], value.item(), rtol=1e-3)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(arrays, 1.0)
        optimizer.step()
    for leaf, array in zip(jax.tree.leaves(params), arrays, strict=True):
        np.testing.assert_allclose(leaf[NUMBERS["tanh"], 1, 1], array.detach().numpy(), rtol=1e-2, atol=1e-4)
