"""Several networks trained in one call, against a loop in PyTorch, and the errors of forecasts against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.support import forecasting
from experiments.support.forecasting import Forecaster, Kept, Recipe
from jaxnets import models, training
from jaxnets.training.batches import batch_indices

SERIES = forecasting.waves(90, channels=2)
HISTORY, HORIZON = 12, 3


def forecaster(recipe):
    return Forecaster(models.nlinear(models.NLinearConfig(HISTORY, HORIZON)), HISTORY, HORIZON, recipe)


def torch_errors(kernel, bias, windows):
    known, wanted = torch.tensor(windows[:, :HISTORY]), torch.tensor(windows[:, HISTORY:])
    last = known[:, -1:]
    made = torch.einsum("btc,th->bhc", known - last, kernel) + bias[None, :, None] + last
    return made - wanted


def windows_of(split):
    first = max(0, split.start - HISTORY)
    view = np.lib.stride_tricks.sliding_window_view(SERIES.values[first : split.stop], HISTORY + HORIZON, axis=0)
    return np.ascontiguousarray(view.swapaxes(1, 2))


def torch_loop(initial, key, recipe):
    """Adam, halving its rate from the third epoch on; returns the network of the smallest validation error."""
    kernel, bias = (torch.tensor(np.array(initial["fc"][name]), requires_grad=True) for name in ("kernel", "bias"))
    data, held_out = windows_of(SERIES.train), windows_of(SERIES.validation)
    steps = len(data) // recipe.batch_size
    optimizer = torch.optim.Adam([kernel, bias], lr=recipe.learning_rate)
    best, found = np.inf, None
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * recipe.decay ** max(0, epoch + 1 - recipe.full_epochs)
        for rows in np.asarray(batch_indices(key, epoch * steps, steps, len(data), recipe.batch_size)):
            optimizer.zero_grad()
            (torch_errors(kernel, bias, data[rows]) ** 2).mean().backward()
            optimizer.step()
        error = (torch_errors(kernel, bias, held_out) ** 2).mean().item()
        if error < best:
            best, found = error, (kernel.detach().numpy().copy(), bias.detach().numpy().copy())
    return best, found


def test_each_of_several_networks_is_what_a_loop_in_pytorch_trains():
    recipe = Recipe(6, 8, 0.05, full_epochs=2, decay=0.5, patience=6)
    network, seeds = forecaster(recipe), np.array([3, 7], np.uint32)
    kept = forecasting.train_forecasters(network, SERIES, seeds, lambda *row: None)
    for place, seed in enumerate(seeds):
        state = training.init_train_state(network.model, network.optimizer(1), int(seed))
        best, (kernel, bias) = torch_loop(state.params, state.key, recipe)
        np.testing.assert_allclose(kept.error[place], best, rtol=1e-3)
        np.testing.assert_allclose(kept.params["fc"]["kernel"][place], kernel, rtol=1e-2, atol=1e-4)
        np.testing.assert_allclose(kept.params["fc"]["bias"][place], bias, rtol=1e-2, atol=1e-4)


def test_a_network_stops_when_its_patience_ends():
    """At a rate that is far too high the error of the first epochs is never reached again."""
    rows = []
    recipe = Recipe(20, 8, 30.0, full_epochs=20, decay=1.0, patience=2)
    kept = forecasting.train_forecasters(
        forecaster(recipe), SERIES, np.array([0], np.uint32), lambda *row: rows.append(row)
    )
    errors = [row[3] for row in rows]
    best = int(np.argmin(errors))
    assert float(kept.error[0]) == np.float32(errors[best])
    assert len(errors) == best + 3 < 20


def test_errors_of_every_window_and_network():
    network = forecaster(Recipe(1, 8, 0.0, full_epochs=1, decay=1.0, patience=1))
    generator = np.random.default_rng(0)
    params = {
        "fc": {
            "kernel": generator.normal(size=(2, HISTORY, HORIZON)).astype(np.float32),
            "bias": generator.normal(size=(2, HORIZON)).astype(np.float32),
        }
    }
    kept = Kept(jax.tree.map(jnp.asarray, params), {}, jnp.zeros(2), jnp.zeros(2, jnp.int32))
    squared, absolute = forecasting.window_errors(network, kept, SERIES.values, network.starts(SERIES.test))
    for place in range(2):
        kernel, bias = (torch.tensor(params["fc"][name][place]) for name in ("kernel", "bias"))
        errors = torch_errors(kernel, bias, windows_of(SERIES.test)).numpy()
        np.testing.assert_allclose(squared[place], (errors**2).mean((1, 2)), rtol=1e-4)
        np.testing.assert_allclose(absolute[place], np.abs(errors).mean((1, 2)), rtol=1e-4)
