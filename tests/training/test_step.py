"""Training steps against the same training in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, metrics, nn
from jaxnets.training import init_train_state, make_step, supervised
from tests.oracles import assert_close, normal, permissive_optimizer

torch = pytest.importorskip("torch")

OPTIMIZERS = {
    "adam": (permissive_optimizer(optax.adam(1e-2)), lambda p: torch.optim.Adam(p, 1e-2)),
    "sgd": (permissive_optimizer(optax.sgd(0.1, momentum=0.9)), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
}


def apply(params, state, x, *, key=None, train):
    x = jax.nn.relu(nn.conv(params["conv"], x, padding="VALID"))
    x = nn.max_pool(x, (2, 2))
    return nn.linear(params["fc"], x.reshape((x.shape[0], -1))), state


MODEL = make_model({"conv": nn.conv_spec(1, 4, (3, 3)), "fc": nn.linear_spec(36, 3)}, apply)


class TorchNet(torch.nn.Module):
    """The same network with the same weights."""

    def __init__(self, params):
        super().__init__()
        tensors = jax.tree.map(lambda p: torch.nn.Parameter(torch.tensor(np.array(p))), params)
        self.kernel, self.bias = tensors["conv"]["kernel"], tensors["conv"]["bias"]
        self.fc_kernel, self.fc_bias = tensors["fc"]["kernel"], tensors["fc"]["bias"]

    def forward(self, x):
        x = torch.nn.functional.conv2d(x.permute(0, 3, 1, 2), self.kernel.permute(3, 2, 0, 1), self.bias).relu()
        x = torch.nn.functional.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1)
        return x @ self.fc_kernel + self.fc_bias


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_ten_steps_equal_torch(name):
    ours, theirs = OPTIMIZERS[name]
    loss = supervised(MODEL, losses.cross_entropy, {"accuracy": metrics.accuracy})
    step = jax.jit(make_step(loss, ours))
    train_state = init_train_state(MODEL, ours, seed=0)
    network = TorchNet(train_state.params)
    optimizer = theirs(network.parameters())
    for i in range(10):
        x, labels = normal(8, 8, 8, 1, seed=i), np.random.default_rng(i).integers(0, 3, 8).astype(np.int32)
        train_state, measured = step(train_state, (jnp.asarray(x), jnp.asarray(labels)))
        logits = network(torch.tensor(x))
        value = torch.nn.functional.cross_entropy(logits, torch.tensor(labels).long())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        numbers = metrics.compute(measured)
        np.testing.assert_allclose(float(numbers["loss"]), value.item(), rtol=1e-4)
        assert float(numbers["accuracy"]) == np.mean(logits.argmax(1).numpy() == labels)
    expected = [network.bias, network.kernel, network.fc_bias, network.fc_kernel]
    assert_close(train_state.params, expected, rtol=1e-3, atol=1e-4)
    assert int(train_state.step) == 10


def test_every_step_has_its_own_key_which_depends_on_seed_and_step_alone():
    optimizer = optax.sgd(0.0)
    model = make_model(nn.linear_spec(2, 2), lambda params, state, inputs, *, key=None, train: (inputs, state))
    step = make_step(noisy_loss_tree, optimizer)
    noises = {}
    for seed in (0, 1):
        train_state = init_train_state(model, optimizer, seed=seed)
        for i in range(3):
            _, measured = step(train_state._replace(step=jnp.int32(i)), None)
            noises[seed, i] = float(metrics.compute(measured)["noise"])
    assert len(set(noises.values())) == 6


def noisy_loss_tree(params, state, batch, *, key, train):
    return jnp.sum(params["bias"]), (state, {"noise": jax.random.normal(key)})


def test_the_metric_name_loss_is_taken():
    with pytest.raises(ValueError, match="'loss' is the name of the loss itself"):
        supervised(MODEL, losses.cross_entropy, {"loss": metrics.accuracy})
