"""A run trains as the experiment does, and what is shown of it is what the network says."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxnets.playground.network import make_trainer
from jaxnets.playground.pictures import feature_pictures
from jaxnets.playground.run import Run
from jaxnets.playground.seeds import SEEDS, Cloud
from jaxnets.playground.settings import PlaygroundSettings

SPIRAL = PlaygroundSettings(
    data="spiral", features=("x1", "x1*x2", "sin(x2)"), hidden=(4, 2), activation="tanh", noise=0.1,
    regularization="l1", regularization_rate=0.003, learning_rate=0.1, epochs=3, seed=5, data_seed=2,
)  # fmt: skip
PLANE = PlaygroundSettings(data="multi-gauss", hidden=(3,), activation="relu", train_share=0.3, batch_size=7, epochs=2)


def trained(settings):
    run = Run(settings)
    for _ in range(settings.epochs):
        run.train()
    return run


@pytest.mark.parametrize("settings", [SPIRAL, PLANE])
def test_it_trains_as_the_scanned_program_of_the_experiment(settings):
    """Whose steps are compared with PyTorch's in tests/experiments/test_playground.py."""
    run = trained(settings)
    arguments = np.uint32(settings.seed), run.data.train, run.data.test, settings.regularization_rate
    history = jax.device_get(jax.jit(make_trainer(settings))(*arguments))
    for split, measured in run.measure().items():
        assert set(measured) == ({"loss", "accuracy"} if settings.classifies else {"loss"})
        for name, value in measured.items():
            assert value == pytest.approx(history[split][name][-1], rel=1e-5)


def plain_outputs(layers, x, activation, last):
    """What every layer says, by NumPy in float64."""
    outputs = []
    for number, layer in enumerate(layers):
        x = x @ np.array(layer["kernel"]) + np.array(layer["bias"])
        x = (last if number == len(layers) - 1 else activation)(x)
        outputs.append(x)
    return outputs


def test_pictures_are_what_every_neuron_says():
    run = trained(SPIRAL)
    output, neurons = run.pictures()
    assert (output.shape, neurons.shape) == ((96, 96), (6, 32, 32))
    side = -6 + 12 * (np.arange(96) + 0.5) / 96
    x1, x2 = np.meshgrid(side, side[::-1])  # the first row is on top
    first, second, last = plain_outputs(
        run.layers(), np.stack([x1, x1 * x2, np.sin(x2)], axis=-1), np.tanh, np.tanh
    )  # fmt: skip
    expected = np.moveaxis(np.concatenate([first, second], axis=-1), -1, 0)[:, 1::3, 1::3]
    np.testing.assert_allclose((output.astype(float) - 127) / 127, last[..., 0], atol=0.0041)
    np.testing.assert_allclose((neurons.astype(float) - 127) / 127, expected, atol=0.0041)


def test_a_network_without_hidden_layers_has_no_small_pictures():
    output, neurons = Run(PlaygroundSettings(data="plane", hidden=())).pictures()
    assert (output.shape, neurons.shape) == ((96, 96), (0, 32, 32))


def test_pictures_of_features():
    """x2 grows upwards, and what is beyond 1 is as 1."""
    assert (feature_pictures()["x2"][0] == 254).all()
    assert (feature_pictures()["x2"][-1] == 0).all()
    assert (feature_pictures()["x1"][:, 0] == 0).all()
    assert (feature_pictures()["x1^2"][16, [0, 15]] == [254, 127 + round(0.1875**2 * 127)]).all()


def test_norms_of_gradients_are_those_of_pytorch():
    import torch

    run = trained(PLANE)
    x, labels = map(torch.tensor, run.data.train)
    params = [[torch.tensor(layer[name], requires_grad=True) for name in ("kernel", "bias")] for layer in run.layers()]
    hidden = torch.relu(x @ params[0][0] + params[0][1])
    output = (hidden @ params[1][0] + params[1][1])[:, 0]
    (torch.nn.functional.mse_loss(output, labels) / 2).backward()
    norms = [torch.cat([array.grad.flatten() for array in layer]).norm().item() for layer in params]
    np.testing.assert_allclose(run.gradient_norms(), norms, rtol=1e-4)


def test_a_rate_needs_no_other_program_and_counts():
    """The rates are arguments of the compiled program."""
    slow, fast = (trained(dataclasses.replace(SPIRAL, learning_rate=rate)) for rate in (0.001, 0.1))
    assert slow._programs is fast._programs
    assert slow.measure() != fast.measure()
    assert trained(SPIRAL).fingerprint() == fast.fingerprint()  # the same settings, the same bits
    assert slow.fingerprint() != fast.fingerprint()


@pytest.mark.parametrize("new_points", [False, True])
def test_each_network_of_a_cloud_is_the_one_trained_alone(new_points):
    settings = dataclasses.replace(SPIRAL, seed=2**32 - 3, data_seed=9)  # seeds go on at 0 after the last one
    cloud = Cloud(settings, new_points=new_points)
    for _ in range(settings.epochs):
        cloud.train()
    losses = cloud.measure()
    assert losses["test"].shape == losses["train"].shape == (SEEDS,)
    for number in (0, 4):
        points = settings.data_seed + (number if new_points else 0)
        alone = trained(dataclasses.replace(settings, seed=(settings.seed + number) % 2**32, data_seed=points))
        for split in ("train", "test"):
            assert losses[split][number] == pytest.approx(alone.measure()[split]["loss"], rel=1e-4)
