"""Networks that forecast series, against the same networks written in PyTorch, values and gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, models, nn
from tests.oracles import normal
from tests.torch_oracle import assert_parity

SERIES = normal(3, 24, 2) + 5
WINDOWS = {"history": 24, "horizon": 4}


def noisy(model, seed=0):
    """Parameters away from their initial values, and the state."""
    params, state = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    generator = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: (0.3 * generator.normal(size=leaf.shape)).astype(np.float32), params)
    return params, jax.tree.map(lambda leaf: np.full(leaf.shape, 0.7, leaf.dtype), state)


def applied(model, state=None, **settings):
    def apply(params, x):
        return model.apply(params, {} if state is None else state, x, **settings)[0]

    return apply


def along_time(params, x):
    return torch.nn.functional.linear(x.transpose(1, 2), params["kernel"].T, params["bias"]).transpose(1, 2)


def test_nlinear():
    model = models.nlinear(models.NLinearConfig(**WINDOWS))
    params, _ = noisy(model)

    def theirs(params, x):
        last = x[:, -1:, :]
        return along_time(params["fc"], x - last) + last

    assert_parity(applied(model, train=True), theirs, params, SERIES)


@pytest.mark.parametrize("window", [1, 5, 25])
def test_dlinear(window):
    model = models.dlinear(models.DLinearConfig(**WINDOWS, window=window))
    params, _ = noisy(model)

    def theirs(params, x):
        reach = (window - 1) // 2
        padded = torch.cat([x[:, :1].repeat(1, reach, 1), x, x[:, -1:].repeat(1, reach, 1)], dim=1)
        trend = torch.nn.functional.avg_pool1d(padded.transpose(1, 2), window, stride=1).transpose(1, 2)
        return along_time(params["rest"], x - trend) + along_time(params["trend"], trend)

    assert_parity(applied(model, train=True), theirs, params, SERIES)


def torch_normalized(x, epsilon=1e-5):
    mean = x.mean(dim=1, keepdim=True)
    deviation = torch.sqrt(x.var(dim=1, keepdim=True, unbiased=False) + epsilon)
    return (x - mean) / deviation, mean, deviation


def test_reversible_norm():
    params = {"scale": 1 + normal(2, seed=3) / 4, "bias": normal(2, seed=4)}

    def ours(params, x, forecast):
        y, statistics = nn.reversible_norm(params, x)
        return y, nn.reversible_norm_inverse(params, forecast, statistics)

    def theirs(params, x, forecast):
        y, mean, deviation = torch_normalized(x)
        back = (forecast - params["bias"]) / (params["scale"] + 1e-10) * deviation + mean
        return y * params["scale"] + params["bias"], back

    assert_parity(ours, theirs, params, SERIES, normal(3, 4, 2, seed=5), atol=1e-4)
    restored = nn.reversible_norm_inverse(params, *nn.reversible_norm(params, jnp.asarray(SERIES)))
    np.testing.assert_allclose(restored, SERIES, rtol=1e-5)


def test_reversible_norm_errors():
    params, _ = init(nn.reversible_norm_spec(2), jax.random.key(0))
    with pytest.raises(ValueError, match=r"reversible_norm: x must be \[..., time, channels\], got \[2\]"):
        nn.reversible_norm(params, jnp.ones(2))
    with pytest.raises(ValueError, match=r"last axis must fit scale \[2\], got x \[5, 3\]"):
        nn.reversible_norm(params, jnp.ones((5, 3)))
    _, statistics = nn.reversible_norm(params, jnp.ones((4, 5, 2)))
    with pytest.raises(ValueError, match=r"must be \[3, 1, 2\], got \[4, 1, 2\]; pass those that reversible_norm"):
        nn.reversible_norm_inverse(params, jnp.ones((3, 5, 2)), statistics)


def torch_attention(params, x):
    def heads(part):
        kernel, bias = params[part]["kernel"], params[part]["bias"]
        return torch.einsum("btf,fhd->bhtd", x, kernel) + bias[:, None, :]

    queries, keys, values = heads("query"), heads("key"), heads("value")
    weights = torch.softmax(queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1]), dim=-1)
    return torch.einsum("bhtd,hdf->btf", weights @ values, params["out"]["kernel"]) + params["out"]["bias"]


def torch_batch_norm(params, x, train):
    """All positions of all series together; the running statistics are 0.7."""
    running = torch.full((x.shape[-1],), 0.7), torch.full((x.shape[-1],), 0.7)
    rows = x.reshape(-1, x.shape[-1])
    return torch.nn.functional.batch_norm(rows, *running, params["scale"], params["bias"], train).reshape(x.shape)


def torch_linear(params, x):
    return torch.nn.functional.linear(x, params["kernel"].T, params["bias"])


def torch_patch_tst(params, x, *, patch_size, stride, layers, train):
    x, mean, deviation = torch_normalized(x)
    series = x.transpose(1, 2)
    padded = torch.nn.ReplicationPad1d((0, stride))(series)
    vectors = torch_linear(params["patch"], padded.unfold(-1, patch_size, stride))
    batch, channels = vectors.shape[:2]
    vectors = vectors.flatten(0, 1) + params["positions"]
    for number in range(layers):
        block = jax.tree.map(lambda leaf, number=number: leaf[number], params["blocks"])
        vectors = torch_batch_norm(block["norm1"], vectors + torch_attention(block["attention"], vectors), train)
        hidden = torch.nn.functional.gelu(torch_linear(block["linear1"], vectors))
        vectors = torch_batch_norm(block["norm2"], vectors + torch_linear(block["linear2"], hidden), train)
    forecast = torch_linear(params["head"], vectors.reshape(batch, channels, -1))
    return forecast.transpose(1, 2) * deviation + mean


@pytest.mark.parametrize("train", [False, True])
def test_patch_tst(train):
    sizes = {"patch_size": 8, "stride": 4, "layers": 2}
    config = models.PatchTSTConfig(**WINDOWS, **sizes, heads=2, features=6, hidden=5, dropout_rate=0.0)
    model = models.patch_tst(config)
    params, state = noisy(model)
    theirs = functools.partial(torch_patch_tst, **sizes, train=train)
    assert_parity(applied(model, state, train=train), theirs, params, SERIES, rtol=1e-4, atol=2e-4)


def test_patch_tst_has_the_patches_of_the_paper():
    assert [models.PatchTSTConfig(history=history).patches for history in (336, 512)] == [42, 64]


def test_no_series_has_no_forecast():
    model = models.patch_tst(models.PatchTSTConfig(24, 4, 8, 4, layers=1, features=4, heads=2, hidden=8))
    params, state = model.init(jax.random.key(0))
    assert model.apply(params, state, jnp.zeros((0, 24, 3)), train=False)[0].shape == (0, 4, 3)


def test_channels_of_patch_tst_do_not_see_each_other():
    model = models.patch_tst(models.PatchTSTConfig(**WINDOWS, patch_size=8, stride=4, features=16, heads=2))
    params, state = noisy(model)
    other = jnp.asarray(SERIES).at[:, :, 1].set(0.0)
    forecasts = [model.apply(params, state, x, train=False)[0] for x in (jnp.asarray(SERIES), other)]
    np.testing.assert_allclose(forecasts[0][:, :, 0], forecasts[1][:, :, 0], atol=1e-5)
    assert not np.allclose(forecasts[0][:, :, 1], forecasts[1][:, :, 1])


def test_lstm_forecaster():
    model = models.lstm_forecaster(models.LSTMForecasterConfig(channels=2, horizon=4, hidden=5))
    params, _ = noisy(model)
    params["norm"]["scale"] += 1

    def theirs(params, x):
        x, mean, deviation = torch_normalized(x)
        x = x * params["norm"]["scale"] + params["norm"]["bias"]
        cell = params["layers"][0]
        hidden = memory = torch.zeros(len(x), 5)
        for time in range(x.shape[1]):
            gates = x[:, time] @ cell["input_kernel"] + hidden @ cell["hidden_kernel"] + cell["bias"]
            i, f, g, o = gates.chunk(4, dim=1)
            memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(memory)
        forecast = torch_linear(params["out"], hidden).reshape(len(x), 4, 2)
        return (forecast - params["norm"]["bias"]) / (params["norm"]["scale"] + 1e-10) * deviation + mean

    assert_parity(applied(model, train=True), theirs, params, SERIES, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        models.nlinear(models.NLinearConfig(**WINDOWS)),
        models.dlinear(models.DLinearConfig(**WINDOWS)),
        models.patch_tst(models.PatchTSTConfig(**WINDOWS, features=4, heads=2)),
    ],
    ids=["nlinear", "dlinear", "patch_tst"],
)
def test_a_series_of_another_length_is_an_error(model):
    params, state = noisy(model)
    with pytest.raises(ValueError, match=r"series must be \[batch, 24, channels\], got \[3, 23, 2\]; cut windows"):
        model.apply(params, state, jnp.asarray(SERIES[:, 1:]), train=False)
