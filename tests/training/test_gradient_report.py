"""The gradient report, against PyTorch's gradients and activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import losses, make_model, nn
from jaxnets.training import TrainState, gradient_table, make_gradient_report, supervised

torch = pytest.importorskip("torch")

DEPTH = 8


def report_and_torch(activation, torch_activation, scale, shift=0.0):
    """The report of a deep network and the PyTorch network after `backward`."""
    spec = {f"fc{i}": nn.linear_spec(16, 16) for i in range(DEPTH)}

    def apply(params, state, x, *, key=None, train):
        for i in range(DEPTH):
            x = activation(nn.linear(params[f"fc{i}"], x))
        return x, state

    model = make_model(spec, apply)
    generator = np.random.default_rng(0)
    params = {
        name: {
            "kernel": jnp.asarray(scale * generator.normal(size=(16, 16)) / 4, jnp.float32),
            "bias": jnp.asarray(generator.normal(size=16) + shift, jnp.float32),
        }
        for name in spec
    }
    x, labels = generator.normal(size=(32, 16)).astype(np.float32), generator.integers(0, 16, 32)
    report = jax.jit(make_gradient_report(supervised(model, losses.cross_entropy)))
    rows = report(TrainState.create(params, (), seed=0), (jnp.asarray(x), jnp.asarray(labels, jnp.int32)))
    layers, hidden = [], torch.tensor(x)
    on = []
    for i in range(DEPTH):
        layer = torch.nn.Linear(16, 16)
        layer.weight.data = torch.tensor(np.array(params[f"fc{i}"]["kernel"]).T.copy())
        layer.bias.data = torch.tensor(np.array(params[f"fc{i}"]["bias"]))
        layers.append(layer)
        hidden = torch_activation(layer(hidden))
        on.append((hidden > 0).any(dim=0).numpy())
    torch.nn.functional.cross_entropy(hidden, torch.tensor(labels)).backward()
    return rows, layers, on


def test_norms_are_pytorchs_and_the_logistics_gradient_vanishes():
    rows, layers, _ = report_and_torch(jax.nn.sigmoid, torch.sigmoid, 1.0)
    for i, layer in enumerate(layers):
        row = rows[f"fc{i}/kernel"]
        assert float(row.gradient) == pytest.approx(layer.weight.grad.norm().item(), rel=1e-3)
        assert float(row.parameter) == pytest.approx(layer.weight.norm().item(), rel=1e-5)
        assert float(row.mean_square) == pytest.approx(layer.weight.grad.square().mean().item(), rel=2e-3)
    lines = {line.split()[0]: line for line in gradient_table(rows).splitlines()[1:]}
    assert lines["fc0/kernel"].endswith("vanishing")
    assert not lines[f"fc{DEPTH - 1}/kernel"].endswith("vanishing")


def test_a_gradient_explodes():
    rows, layers, _ = report_and_torch(lambda x: x, lambda x: x, 30.0)
    assert float(rows["fc0/kernel"].gradient) == pytest.approx(layers[0].weight.grad.norm().item(), rel=1e-3)
    assert "exploding" in gradient_table(rows).splitlines()[1 + list(rows).index("fc0/kernel")]


def test_dead_units_are_those_whose_relu_is_never_on():
    rows, layers, on = report_and_torch(jax.nn.relu, torch.relu, 1.0, shift=-1.5)
    zero = [(layer.bias.grad == 0).float().mean().item() for layer in layers]
    for i in range(DEPTH):
        assert float(rows[f"fc{i}/bias"].dead) == pytest.approx(zero[i])
    assert float(rows["fc0/bias"].dead) >= np.mean(~on[0])
    assert 0 < np.mean(~on[0]) < 1


def test_numbers_beyond_the_dtype():
    def loss(params, state, batch, *, key, train):
        return jnp.sum(params["huge"] * 3e30) + jnp.sum(params["nan"] * batch) + 0 * jnp.sum(params["zero"]), (
            state,
            {},
        )

    params = {"huge": jnp.ones(4), "nan": jnp.ones(4), "zero": jnp.ones(4)}
    rows = make_gradient_report(loss)(TrainState.create(params, (), seed=0), jnp.array([1.0, jnp.nan, 1.0, 1.0]))
    assert float(rows["huge"].gradient) == pytest.approx(6e30, rel=1e-5)  # the squares overflow float32
    notes = {line.split()[0]: line.split("%")[1].strip() for line in gradient_table(rows).splitlines()[1:]}
    assert notes == {"huge": "exploding", "nan": "not finite", "zero": "zero"}
