"""The exponential loss: its data, its training against PyTorch, and what is measured of it."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from experiments import exponential_loss
from experiments.exponential_loss import Config, Data, split_and_flip
from experiments.support.many import stack
from jaxnets.data import breast_cancer
from jaxnets.models import MLPConfig, mlp
from jaxnets.training import batch_indices, init_train_state


def test_only_training_labels_are_flipped_and_only_the_training_part_standardizes():
    raw, clean, data = (
        breast_cancer(4),
        split_and_flip(4, 0.0),
        split_and_flip(4, 0.1),
    )
    scaler = StandardScaler().fit(raw.train[0])
    for ours, theirs in zip(data[:3], raw[:3], strict=True):
        np.testing.assert_allclose(ours[0], scaler.transform(theirs[0]), atol=1e-4)
    np.testing.assert_array_equal(clean.train[1] != data.train[1], data.flipped)
    assert data.flipped.sum() == 40
    assert not clean.flipped.any()
    for ours, theirs in ((clean.train, raw.train), (data.validation, raw.validation), (data.test, raw.test)):
        np.testing.assert_array_equal(ours[1], np.where(theirs[1] == 1, 1, -1))
    assert sum(len(part[1]) for part in data[:3]) == len(load_breast_cancer().target)


def torch_loss(name, outputs, labels):
    if name == "exponential":
        return torch.exp(-labels * outputs)
    if name == "hinge":
        return torch.relu(1 - labels * outputs)
    return torch.nn.functional.softplus(-labels * outputs)


def test_the_losses_are_pytorchs():
    outputs, labels = np.linspace(-3, 3, 20, dtype=np.float32), np.tile([-1, 1], 10)
    for name, loss in exponential_loss.LOSSES.items():
        expected = torch_loss(name, torch.tensor(outputs), torch.tensor(labels).float())
        np.testing.assert_allclose(loss(outputs, labels), expected, rtol=1e-5)


def test_each_network_is_what_pytorch_trains_on_its_split():
    name = "exponential"
    config = Config(seed=1, networks=2, epochs=3)
    model = mlp(MLPConfig((30, 1)))
    seeds = exponential_loss.network_seeds(config)
    assert seeds.tolist() == [2, 3]
    splits = [split_and_flip(int(seed), 0.1) for seed in seeds]
    data = stack([stack(splits)])
    trained, history = exponential_loss.train_all(config, model, name, data)
    start = init_train_state(model, exponential_loss.optax.adam(1e-2), 3)
    layer = torch.nn.Linear(30, 1)
    layer.weight.data = torch.tensor(np.array(start.params["layers"][0]["linear"]["kernel"]).T.copy())
    layer.bias.data.zero_()
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    x, labels = torch.tensor(splits[1].train[0]), torch.tensor(splits[1].train[1]).float()
    for rows in np.array(batch_indices(start.key, 0, 36, 398, 32)):
        optimizer.zero_grad()
        torch_loss(name, layer(x[rows])[:, 0], labels[rows]).mean().backward()
        optimizer.step()
    kernel = trained.params["layers"][0]["linear"]["kernel"][0, 1]
    np.testing.assert_allclose(kernel, layer.weight.detach().T, rtol=1e-3, atol=1e-4)
    outputs = layer(x)[:, 0].detach()
    assert history["train"]["loss"].shape == (1, 2, 3)
    assert history["train"]["loss"][0, 1, -1] == pytest.approx(
        float(torch_loss(name, outputs, labels).mean()), rel=1e-3
    )
    accuracy = float((outputs.sign() == labels).float().mean())
    assert history["train"]["accuracy"][0, 1, -1] == pytest.approx(accuracy, abs=1e-6)


def test_the_pull_of_examples_is_the_derivative_of_their_loss():
    """Four examples with known outputs: the weight of a linear classifier is 1."""
    x = np.array([[[2.0], [1.0], [-0.5], [0.5]]], np.float32)
    labels, flipped = np.array([[1, 1, 1, -1]]), np.array([[False, False, True, False]])
    data = Data((x, labels), (x, labels), (x, labels), flipped)
    params = {"layers": [{"linear": {"kernel": np.ones((1, 1, 1), np.float32), "bias": np.zeros((1, 1), np.float32)}}]}
    margins = np.array([2, 1, -0.5, -0.5])
    derivatives = {
        "exponential": np.exp(-margins),
        "cross_entropy": 1 / (1 + np.exp(margins)),
        "hinge": np.array([0, 0, 1, 1]),
    }
    for name, pull in derivatives.items():
        outcome = exponential_loss.examine(mlp(MLPConfig((1, 1))), name, params, data)
        shares = pull / pull.sum()
        if name != "hinge":  # which has a kink at a margin of 1
            np.testing.assert_allclose(outcome.pull[0], shares, rtol=1e-5)
            assert outcome.from_flipped == pytest.approx(shares[2], rel=1e-5)
            np.testing.assert_allclose(outcome.concentration(), np.cumsum(np.sort(shares)[::-1]), rtol=1e-5)
        np.testing.assert_allclose(outcome.margins[0], margins, rtol=1e-6)  # the mean of |f| is 1
        assert outcome.accuracy.tolist() == [0.5]


@pytest.mark.slow
def test_the_exponential_loss_suffers_more_from_flipped_labels(tmp_path, monkeypatch):
    monkeypatch.delitem(exponential_loss.LOSSES, "hinge")  # to save time
    metrics = exponential_loss.run(Config(networks=10, epochs=30, out=tmp_path))["metrics"]
    assert abs(metrics["clean"]["behind"]) < 0.01
    assert metrics["flipped"]["behind"] > 2 * metrics["flipped"]["behind_error"] > 0
    assert metrics["clean"]["exponential"] > 0.95 > metrics["flipped"]["exponential"]
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves.png", "exponential_loss.png"}
