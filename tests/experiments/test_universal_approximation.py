"""The network is the theorem's sum, the staircase has the proof's error, and least squares finds the smallest."""

import jax
import numpy as np
import pytest
from scipy.special import expit

from experiments import universal_approximation as experiment
from jaxnets.models import MLPConfig, mlp


def network(units, seed=0):
    return jax.device_get(experiment.initialize(units, jax.random.key(seed)))


def test_features_and_weights_are_the_network():
    params, x = network(12), np.linspace(0, 1, 33)
    hidden, last = (layer["linear"] for layer in params["layers"])
    by_hand = sum(
        last["kernel"][h, 0] * expit(hidden["kernel"][0, h] * x + hidden["bias"][h]) for h in range(12)
    )  # fmt: skip
    outputs = experiment.features(params, x) @ experiment.output_weights(params)
    np.testing.assert_allclose(outputs, by_hand + last["bias"][0], rtol=1e-12, atol=1e-12)
    model = mlp(MLPConfig((1, 12, 1), activation="sigmoid"))
    by_model, _ = model.apply(params, {}, np.float32(x[:, None]), train=False)
    np.testing.assert_allclose(by_model[:, 0], outputs, rtol=1e-5, atol=1e-5)


def test_least_squares_solves_the_normal_equations():
    """The residual is orthogonal to every unit and to the constant, and no smaller one is found by scikit-learn."""
    from sklearn.linear_model import LinearRegression

    params, x = network(6, seed=1), np.linspace(0, 1, 200)
    y = experiment.FUNCTIONS["sine"](x)
    matrix = experiment.features(params, x)
    weights = experiment.least_squares(params, x, y)
    np.testing.assert_allclose(matrix.T @ (matrix @ weights - y), 0, atol=1e-8)
    fitted = LinearRegression().fit(matrix[:, :-1], y)
    np.testing.assert_allclose(weights, [*fitted.coef_, fitted.intercept_], rtol=1e-5)


def test_what_the_units_can_say_exactly_is_found_exactly():
    params, x = network(5, seed=2), np.linspace(0, 1, 300)
    alpha = np.array([1.0, -2.0, 3.0, 0.5, -1.0, 0.25])
    found = experiment.least_squares(params, x, experiment.features(params, x) @ alpha)
    np.testing.assert_allclose(found, alpha, rtol=1e-6)


@pytest.mark.parametrize("units", [2, 8, 64])
def test_the_staircase_errs_by_the_change_over_half_a_step(units):
    """With the slopes +-1 of the kink: exactly 1 / (2 units), just before and after each step."""
    params = experiment.staircase(experiment.FUNCTIONS["kink"], units)
    x = np.linspace(0, 1, 80 * units + 1)
    x = x[np.abs((x * units) % 1 - 0.5) > 0.01]  # not in the middle of a step, where the sigmoid is between
    error = np.abs(experiment.features(params, x) @ experiment.output_weights(params) - np.abs(x - 0.5)).max()
    np.testing.assert_allclose(error, 1 / (2 * units), rtol=0.03)


@pytest.mark.slow
def test_training_descends_and_each_network_is_its_own():
    """One of the vmapped networks, evaluated alone, has the loss that it is said to have."""
    x = np.linspace(0, 1, 65)
    y = np.stack([function(x) for function in experiment.FUNCTIONS.values()])
    seeds = np.array([4, 5], np.uint32)
    initial, trained, values = jax.device_get(experiment.train(3, 30, x, y, seeds))
    assert values.shape == (2, 3, 30)
    for seed, function in np.ndindex(2, 3):
        first, last = (jax.tree.map(lambda leaf, at=(seed, function): leaf[at], tree) for tree in (initial, trained))
        for leaf, expected in zip(jax.tree.leaves(first), jax.tree.leaves(network(3, int(seeds[seed]))), strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-5)
        errors = [
            np.mean((experiment.features(params, x) @ experiment.output_weights(params) - y[function]) ** 2)
            for params in (first, last)
        ]
        np.testing.assert_allclose(values[seed, function, 0], errors[0], rtol=1e-4)
        assert errors[1] <= values[seed, function, -1] * 1.001
        best = experiment.features(last, x) @ experiment.least_squares(last, x, y[function])
        assert np.mean((best - y[function]) ** 2) <= errors[1]
    assert np.all(values[:, 0, -1] < 0.1 * values[:, 0, 0])
