"""The regularization study: its updates and gradients are PyTorch's, and networks trained together are each alone."""

import itertools

import jax
import numpy as np
import pytest
import torch

from experiments.regularization_study import (
    SIZES,
    Config,
    Variant,
    draw,
    initialize,
    make_optimizer,
    measure_networks,
    network,
    train_network,
    train_networks,
    training_loss,
)
from jaxnets.training import make_step, scan_data

RATE = 1e-3


def images_and_labels(count, seed=0):
    generator = np.random.default_rng(seed)
    return generator.random((count, 28, 28, 1), np.float32), (np.arange(count) % 10).astype(np.int32)


@pytest.fixture(scope="module")
def initial():
    """Three new networks."""
    return initialize(Variant(), np.arange(5, 8, dtype=np.uint32))


def of_network(number, tree):
    return jax.tree.map(lambda leaf: leaf[number], tree)


def torch_copy(params):
    """The same perceptron in PyTorch, with its weights and its biases."""
    linear = [torch.nn.Linear(before, after) for before, after in itertools.pairwise(SIZES)]
    for layer, module in zip(params["layers"], linear, strict=True):
        module.weight.data = torch.tensor(np.array(layer["linear"]["kernel"]).T.copy())
        module.bias.data = torch.tensor(np.array(layer["linear"]["bias"]))
    net = torch.nn.Sequential(torch.nn.Flatten(), linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
    return net, [module.weight for module in linear], [module.bias for module in linear]


def kernels(params):
    return [np.asarray(layer["linear"]["kernel"]).T for layer in params["layers"]]


def assert_same_weights(ours, expected):
    """Within a twentieth of an Adam step, but for one weight in ten thousand.

    Where a gradient is nearly 0, Adam turns its rounding into steps of any size up to RATE.
    """
    for one, other in zip(ours, expected, strict=True):
        assert np.mean(np.abs(one - other) > 0.05 * RATE) <= 1e-4


DECAYS = {
    "decoupled": (Variant(decoupled_decay=50.0), torch.optim.AdamW, 50.0),
    "L2": (Variant(l2=0.01), torch.optim.Adam, 0.02),  # the gradient of c |W|^2 is 2 c W
}


@pytest.mark.parametrize("kind", DECAYS)
def test_both_decays_are_pytorchs(kind, initial):
    """Two steps of the experiment's step and of PyTorch, which decays weights alone in a group of their own."""
    variant, optimizer_class, decay = DECAYS[kind]
    optimizer = make_optimizer(variant, RATE)
    step = jax.jit(make_step(training_loss(variant), optimizer))
    train_state = of_network(0, initial)
    net, weights, biases = torch_copy(train_state.params)
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    theirs = optimizer_class(groups, lr=RATE)
    for seed in range(2):
        images, labels = images_and_labels(40, seed)
        train_state, _ = step(train_state, (images, labels))
        theirs.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(images)), torch.tensor(labels).long()).backward()
        theirs.step()
    assert_same_weights(kernels(train_state.params), [weight.detach().numpy() for weight in weights])
    ours = [layer["linear"]["bias"] for layer in train_state.params["layers"]]
    assert_same_weights(ours, [bias.detach().numpy() for bias in biases])


@pytest.mark.parametrize("variant", [Variant(entropy_penalty=0.3), Variant(label_smoothing=0.2)])
def test_the_gradient_of_a_softer_target_is_pytorchs(variant, initial):
    """PyTorch's own entropy, with the sign of L - b H(p), and its own label smoothing."""
    params = jax.tree.map(
        lambda leaf: 3 * leaf[1], initial.params
    )  # so that predictions are neither uniform nor certain
    images, labels = images_and_labels(20)
    loss = training_loss(variant)
    gradient = jax.jit(jax.grad(lambda p: loss(p, {}, (images, labels), key=None, train=False)[0]))(params)
    net, weights, _ = torch_copy(params)
    logits = net(torch.tensor(images))
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    value = torch.nn.functional.cross_entropy(
        logits, torch.tensor(labels).long(), label_smoothing=variant.label_smoothing
    )
    (value - variant.entropy_penalty * entropy).backward()
    for ours, weight in zip(kernels(gradient), weights, strict=True):
        np.testing.assert_allclose(ours, weight.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_the_entropy_penalty_has_the_gradient_of_the_formula(initial):
    """d(L - b H) / dz_k = p_k - y_k + b p_k (log p_k + H), from the bias of the last layer of one example."""
    variant = Variant(entropy_penalty=0.7)
    model = network(variant)
    params = of_network(2, initial.params)
    images, labels = images_and_labels(1)
    loss = training_loss(variant)
    gradient = jax.jit(jax.grad(lambda p: loss(p, {}, (images, labels), key=None, train=False)[0]))(params)
    logits = np.asarray(model.apply(params, {}, images, train=False)[0][0], np.float64)
    p = np.exp(logits) / np.exp(logits).sum()
    entropy = -np.sum(p * np.log(p))
    expected = p - np.eye(10)[labels[0]] + 0.7 * p * (np.log(p) + entropy)
    np.testing.assert_allclose(gradient["layers"][-1]["linear"]["bias"], expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def together(initial):
    """Three networks trained at once, with dropout, on random images, of which they remember the training part."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        config = Config(networks=3, per_class=4, epochs=6, batch_size=20, learning_rate=RATE)
        variant = Variant(dropout=0.2)
        parts = [draw(images_and_labels(120, seed), config.per_class, seed) for seed in range(3)]
        data = jax.tree.map(lambda *arrays: np.stack(arrays), *parts)
        return config, variant, initial, data, train_networks(config, variant, initial, data)


def validation_loss(params, part):
    """In NumPy and double precision."""
    x = np.asarray(part[0], np.float64).reshape(len(part[0]), -1)
    for number, layer in enumerate(params["layers"]):
        x = x @ np.asarray(layer["linear"]["kernel"], np.float64) + np.asarray(layer["linear"]["bias"], np.float64)
        x = np.maximum(x, 0) if number < 2 else x
    return np.mean(np.log(np.exp(x).sum(axis=1)) - x[np.arange(len(x)), part[1]])


def test_early_stopping_keeps_what_a_python_loop_finds(together):
    """One epoch a call, one network at a time, and the best copy kept by an `if`."""
    config, variant, initial, data, (_, kept, _) = together
    step = make_step(training_loss(variant), make_optimizer(variant, RATE))
    run_epoch = jax.jit(scan_data(step, steps=2, batch_size=config.batch_size))
    found = []
    for number in range(3):
        train_state, part = of_network(number, initial), of_network(number, data)
        best = np.inf
        for epoch in range(1, config.epochs + 1):
            train_state, _ = run_epoch(train_state, part["train"])
            loss = validation_loss(train_state.params, part["validation"])
            if loss < best:
                best, params, at = loss, train_state.params, epoch
        found.append(at)
        assert int(kept.epoch[number]) == at
        assert float(kept.loss[number]) == pytest.approx(best, rel=1e-5)
        assert_same_weights(kernels(of_network(number, kept.params)), kernels(params))
    assert len(set(found)) > 1, "the networks must not all stop at the same epoch, or the test says little"
    assert min(found) < config.epochs


def test_a_network_of_many_is_the_network_alone(together):
    """After 12 steps, up to rounding: see `assert_same_weights`; 1e-4 of the losses and accuracies of every epoch."""
    config, variant, initial, data, (last, kept, curves) = together
    alone, kept_alone, curves_alone = jax.jit(train_network, static_argnums=0)(
        config, variant, of_network(1, initial), of_network(1, data)
    )
    assert int(kept_alone.epoch) == int(kept.epoch[1])
    assert_same_weights(kernels(of_network(1, last.params)), kernels(alone.params))
    jax.tree.map(
        lambda many, one: np.testing.assert_allclose(many[1], one, rtol=1e-4, atol=1e-6), dict(curves), curves_alone
    )


def test_the_measured_numbers_are_those_of_numpy(together):
    _, _, _, data, (last, _, _) = together
    test = images_and_labels(30, seed=9)
    measured = measure_networks(Variant(), last, data["train"], test)
    for number in range(3):
        params, own = of_network(number, last.params), of_network(number, data["train"])
        assert float(measured["test"]["loss"][number]) == pytest.approx(validation_loss(params, test), rel=1e-5)
        assert float(measured["train"]["loss"][number]) == pytest.approx(validation_loss(params, own), rel=1e-5)


def test_draws_are_balanced_apart_and_differ_by_seed():
    images, labels = np.arange(500), np.random.default_rng(0).integers(0, 10, 500)
    first, again, other = (draw((images, labels), 12, seed) for seed in (3, 3, 4))
    for split in ("train", "validation"):
        np.testing.assert_array_equal(np.bincount(first[split][1]), np.full(10, 12))
        np.testing.assert_array_equal(labels[first[split][0]], first[split][1])
        np.testing.assert_array_equal(first[split][0], again[split][0])
        assert set(first[split][0]) != set(other[split][0])
    assert not set(first["train"][0]) & set(first["validation"][0])
