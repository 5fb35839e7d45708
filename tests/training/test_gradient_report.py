"""The gradient report, against PyTorch's gradients and activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import losses, make_model, metrics, nn
from jaxnets.models import CifarResNetConfig, SmallCNNConfig, VGGConfig, cifar_resnet, small_cnn, vgg
from jaxnets.training import TrainState, gradient_table, init_train_state, make_gradient_report, supervised
from tests.html_rows import html_rows

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


def notes_of(report):
    lines = gradient_table(report).splitlines()[1 : 1 + len(report)]
    return {line.split()[0]: line.partition("%")[2].strip() for line in lines}


def report_of(model, inputs, labels, seed=0):
    import optax

    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    state = init_train_state(model, optax.sgd(0.1), seed)
    return jax.jit(make_gradient_report(loss))(state, (inputs, labels))


def images(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32), np.arange(shape[0], dtype=np.int32) % 10


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_bias_before_batch_norm_has_no_effect_and_does_not_vanish(seed):
    report = report_of(small_cnn(SmallCNNConfig()), *images(64, 8, 8, 1), seed=seed)
    notes = notes_of(report)
    assert {path for path, note in notes.items() if note == "no effect on the loss"} == {"conv1/bias", "conv2/bias"}
    assert "vanishing" not in notes.values()


def test_the_gradient_of_such_a_bias_is_zero_for_pytorch_too():
    """In float64, where rounding is smaller: what the note says is true of the network, not of this library."""
    convolution = torch.nn.Conv2d(1, 32, 3, padding=1)
    layers = convolution, torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(2048, 10)
    x, labels = images(64, 8, 8, 1)
    logits = torch.nn.Sequential(*layers).double()(torch.tensor(x.transpose(0, 3, 1, 2)).double())
    torch.nn.functional.cross_entropy(logits, torch.tensor(labels).long()).backward()
    assert convolution.bias.grad.norm() < 1e-13 * convolution.weight.grad.norm()


@pytest.mark.slow
def test_networks_whose_biases_all_matter_are_not_accused():
    for model in (
        cifar_resnet(CifarResNetConfig(depth=8)),
        vgg(VGGConfig(depth=11, width=0.0625, norm=True, pooled=1, hidden=(), classes=10)),
    ):
        report = report_of(model, *images(16, 32, 32, 3))
        for path, note in notes_of(report).items():
            before_norm = path.endswith("conv/bias")
            assert (note == "no effect on the loss") == before_norm, path


@pytest.mark.parametrize("flat", [False, True])
def test_a_network_that_vanishes_is_still_said_to(flat):
    """Also one whose parameters are all in one dict, so that the first layers' are far smaller than others there."""
    depth = 10

    def apply(params, state, x, *, key=None, train):
        for i in range(depth):
            layer = {"kernel": params[f"w{i}"], "bias": params[f"b{i}"]} if flat else params[f"fc{i}"]
            x = jax.nn.sigmoid(nn.linear(layer, x))
        return x, state

    layers = {f"fc{i}": nn.linear_spec(16, 16) for i in range(depth)}
    named = {f"w{i}": layers[f"fc{i}"]["kernel"] for i in range(depth)}
    named |= {f"b{i}": layers[f"fc{i}"]["bias"] for i in range(depth)}
    model = make_model(named if flat else layers, apply)
    x, labels = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32), np.arange(32, dtype=np.int32) % 10
    notes = notes_of(report_of(model, x, labels))
    early = ["w0", "b0"] if flat else ["fc0/kernel", "fc0/bias"]
    assert {notes[path] for path in early} == {"vanishing"}
    assert "no effect on the loss" not in notes.values()


def test_a_bias_that_is_balanced_by_chance_has_an_effect():
    """With as many examples of each class, the gradient at zero weights is 0 but for rounding; the bias matters."""

    def apply(params, state, x, *, key=None, train):
        return nn.linear(params["fc"], x), state

    model = make_model({"fc": nn.linear_spec(4, 10)}, apply)
    params = {"fc": {"kernel": jnp.zeros((4, 10)), "bias": jnp.zeros(10)}}
    x, labels = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32), np.arange(70, dtype=np.int32) % 10
    loss = supervised(model, losses.cross_entropy)
    report = jax.jit(make_gradient_report(loss))(TrainState.create(params, {}, seed=0), (x, labels))
    assert float(report["fc/bias"].gradient) < 1e-6
    assert notes_of(report)["fc/bias"] != "no effect on the loss"


def test_a_bias_of_keys_has_no_effect_on_attention():
    """Softmax does not see what is added to all of its inputs."""

    def loss(params, state, batch, *, key, train):
        queries, keys = (nn.linear(params[name], batch) for name in ("query", "key"))
        weights = jax.nn.softmax(queries @ keys.swapaxes(-1, -2))
        return jnp.mean(jnp.square(weights @ batch)), (state, {})

    generator = np.random.default_rng(0)
    params = {
        name: {"kernel": jnp.asarray(generator.normal(size=(8, 8)), jnp.float32), "bias": jnp.ones(8)}
        for name in ("query", "key")
    }
    batch = jnp.asarray(generator.normal(size=(4, 6, 8)), jnp.float32)
    notes = notes_of(jax.jit(make_gradient_report(loss))(TrainState.create(params, {}, seed=0), batch))
    assert [path for path, note in notes.items() if note == "no effect on the loss"] == ["key/bias"]


def test_a_notebook_shows_a_table():
    rows, *_ = report_and_torch(jax.nn.relu, torch.relu, 1.0)
    table = gradient_table(rows)
    _, *shown = html_rows(table._repr_html_())
    assert [row[0] for row in shown] == list(rows)
    assert [row[1] for row in shown] == [line.split()[1] for line in table.splitlines()[1:]]
