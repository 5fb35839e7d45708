"""The experiment with grokking: its network against PyTorch, its loss against float64, its waves against NumPy."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import torch

experiment = importlib.import_module("experiments.grokking")
SIZE = experiment.Size(prime=7, share=0.5, features=8, hidden=12, epochs=4, every=2)


def as_torch(params):
    return jax.tree.map(lambda leaf: torch.tensor(np.array(leaf)), params)


def torch_network(weights, pairs):
    """A Transformer that computes all three positions, each of which attends to those up to it."""
    tokens = torch.cat([torch.tensor(pairs), torch.full((len(pairs), 1), SIZE.prime)], dim=1).long()
    x = weights["tokens"]["embedding"][tokens] + weights["positions"]["embedding"]
    heads = weights["attention"]
    query, key, value = (torch.einsum("btf,fhd->bhtd", x, heads[name]["kernel"]) for name in ("query", "key", "value"))
    attended = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    x = x + torch.einsum("bhtd,hdf->btf", attended, heads["out"]["kernel"])
    hidden = torch.relu(x @ weights["linear1"]["kernel"] + weights["linear1"]["bias"])
    x = x + hidden @ weights["linear2"]["kernel"] + weights["linear2"]["bias"]
    return (x @ weights["out"]["kernel"])[:, -1]


def test_the_network_is_a_causal_transformer_read_at_the_equals_sign():
    model = experiment.network(SIZE)
    params, state = model.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases too
    (pairs, _), _ = experiment.sums(SIZE, 0)
    logits, _ = model.apply(params, state, jnp.asarray(pairs), train=False)
    np.testing.assert_allclose(logits, torch_network(as_torch(params), pairs), rtol=1e-4, atol=1e-5)


def test_training_is_adamw_of_pytorch_on_all_pairs_at_once():
    config = experiment.Config(learning_rate=0.02, weight_decay=0.5)
    model = experiment.network(SIZE)
    program, optimizer = experiment.make_program(config, SIZE, model)
    train, test = experiment.sums(SIZE, 3)
    start = experiment.training.init_train_state(model, optimizer, 3)
    leaves, tree = jax.tree.flatten(start.params)
    weights = [torch.tensor(np.array(leaf), requires_grad=True) for leaf in leaves]
    by_torch = torch.optim.AdamW(weights, lr=0.0, betas=(0.9, 0.98), weight_decay=0.5)
    for epoch in range(SIZE.every):
        by_torch.param_groups[0]["lr"] = 0.02 * (0.1 + 0.09 * epoch)
        by_torch.zero_grad()
        logits = torch_network(jax.tree.unflatten(tree, weights), train[0])
        torch.nn.functional.cross_entropy(logits, torch.tensor(train[1]).long()).backward()
        by_torch.step()
    trained, measured = program(start, train, test)
    for leaf, weight in zip(jax.tree.leaves(trained.params), weights, strict=True):
        np.testing.assert_allclose(leaf, weight.detach().numpy(), rtol=1e-3, atol=1e-5)
    logits = torch_network(jax.tree.unflatten(tree, weights), test[0])
    right = (logits.argmax(dim=1).numpy() == test[1]).mean()
    assert float(measured["test"]["accuracy"]) == pytest.approx(right)


@pytest.mark.parametrize("lead", [-40.0, 0.0, 3.0, 30.0, 80.0])
def test_small_losses_and_their_gradients_are_those_of_float64(lead):
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    labels = np.array([0, 4, 2, 1])
    logits[np.arange(4), labels] += np.float32(lead)
    wide = logits.astype(np.float64)
    others = np.where(np.eye(5, dtype=bool)[labels], -np.inf, wide)
    odds = np.exp(scipy.special.logsumexp(others, axis=1) - wide[np.arange(4), labels])
    values, pull = jax.vjp(lambda x: experiment.precise_cross_entropy(x, jnp.asarray(labels)), jnp.asarray(logits))
    np.testing.assert_allclose(values, np.log1p(odds), rtol=1e-5)
    expected = np.exp(others - wide[np.arange(4), labels][:, None]) / (1 + odds)[:, None]
    expected[np.arange(4), labels] = -odds / (1 + odds)
    np.testing.assert_allclose(pull(jnp.ones(4))[0], expected, rtol=1e-5, atol=1e-37)


def test_frequencies_are_those_of_waves_over_the_numbers():
    numbers = np.arange(11)[:, None]
    table = 3 * np.cos(2 * np.pi * (2 * numbers / 11 + np.array([0.1, 0.3]))) + 4 * np.sin(2 * np.pi * 5 * numbers / 11)
    shares = experiment.frequencies(jnp.asarray(table + 7, jnp.float32))  # the mean is no wave
    np.testing.assert_allclose(shares, [0, 9 / 25, 0, 0, 16 / 25], atol=1e-5)


def test_each_pair_is_in_one_split_with_its_sum():
    size = experiment.SIZES["small"]
    train, test = experiment.sums(size, 5)
    assert len(train[0]) == round(size.share * size.prime**2)
    pairs = np.concatenate([train[0], test[0]])
    assert len(np.unique(pairs, axis=0)) == len(pairs) == size.prime**2
    expected = [(int(a) + int(b)) % size.prime for a, b in pairs]
    np.testing.assert_array_equal(np.concatenate([train[1], test[1]]), expected)


def test_when_a_split_is_known():
    epochs = np.array([10, 20, 30])
    assert experiment.first_known(epochs, np.array([0.5, 0.99, 0.6])) == 20
    assert experiment.first_known(epochs, np.array([0.5, 0.9, 0.98])) == np.inf


def test_pairs_held_out_whose_mirror_is_trained_on():
    train = np.array([[0, 1], [2, 2], [3, 1]]), None
    test = np.array([[1, 0], [1, 3], [2, 3], [0, 0]]), None
    assert experiment.mirrored(train, test) == 0.5
