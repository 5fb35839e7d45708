"""Four small networks with all that training may have on: dropout, clipping, AdamW, averages, accumulation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import Model, losses, make_model, metrics, models, nn, subkey
from jaxnets.sharding import FSDP, FSDP_TENSOR, TENSOR, make_mesh, place
from jaxnets.training import make_step, supervised, synchronized, with_ema
from tests.oracles import permissive_optimizer

CLASSES, STEPS, BATCH = 8, 20, 16
# Adam divides by the square root of a mean of squares, which amplifies rounding where it is small: hence the epsilon.
OPTIMIZER = permissive_optimizer(
    with_ema(optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(1e-2, eps=1e-2)), 0.9)
)


def mlp(rate):
    def apply(params, state, x, *, key=None, train):
        x = jax.nn.relu(nn.linear(params["fc1"], x))
        return nn.linear(params["fc2"], nn.dropout(x, rate, key=subkey(key, "drop"), train=train)), state

    return make_model({"fc1": nn.linear_spec(8, 16), "fc2": nn.linear_spec(16, CLASSES)}, apply)


def cnn(rate):
    def apply(params, state, x, *, key=None, train):
        x, bn = nn.batch_norm(params["bn"], state["bn"], nn.conv(params["conv1"], x, padding="SAME"), train=train)
        x = nn.conv(params["conv2"], nn.max_pool(jax.nn.relu(x), (2, 2)), padding="SAME")
        x = nn.dropout(jnp.mean(x, axis=(1, 2)), rate, key=subkey(key, "drop"), train=train)
        return nn.linear(params["fc"], x), {"bn": bn}

    spec = {
        "conv1": nn.conv_spec(1, 8, (3, 3)),
        "bn": nn.batch_norm_spec(8),
        "conv2": nn.conv_spec(8, 16, (3, 3)),
        "fc": nn.linear_spec(16, CLASSES),
    }
    return make_model(spec, apply)


def lstm(rate):
    def apply(params, state, ids, *, key=None, train):
        x, _ = nn.lstm(params["lstm"], nn.embedding(params["embedding"], ids))
        return nn.linear(params["fc"], nn.dropout(x[:, -1], rate, key=subkey(key, "drop"), train=train)), state

    spec = {
        "embedding": nn.embedding_spec(CLASSES, 8),
        "lstm": nn.lstm_spec(8, 16),
        "fc": nn.linear_spec(16, CLASSES),
    }
    return make_model(spec, apply)


def gpt(rate):
    sizes = {"vocabulary": CLASSES, "context": 4, "layers": 5, "heads": 4, "features": 16}
    return models.gpt(models.GPTConfig(**sizes, dropout_rate=rate, attention_dropout_rate=rate))


class Network(NamedTuple):
    """How to make a network, its inputs, and rules that divide it over `"model"`."""

    make: Any
    inputs: Any
    tensor: Any


def by_name(name):
    random = np.random.default_rng(0)
    pictures = random.normal(size=(STEPS, BATCH, 6, 6, 1)).astype(np.float32)
    ids = random.integers(0, CLASSES, (STEPS, BATCH, 4)).astype(np.int32)
    rows = pictures[..., :2, :4, 0].reshape(STEPS, BATCH, 8)
    return {
        "mlp": Network(mlp, rows, {"fc1/*:out": "model", "fc2/*:in": "model"}),
        "cnn": Network(cnn, pictures, {"conv1/*:out": "model", "bn/*:features": "model", "conv2/kernel:in": "model"}),
        "lstm": Network(lstm, ids, {"lstm/*:out": "model", "fc/*:in": "model"}),
        "gpt": Network(gpt, ids, TENSOR),
    }[name]


def batches_of(name):
    network, random = by_name(name), np.random.default_rng(1)
    shape = network.inputs.shape if name == "gpt" else network.inputs.shape[:2]
    return network.inputs, random.integers(0, CLASSES, shape).astype(np.int32)


def placement_of(name, mode):
    """Where a network lies on eight devices in the modes data, fsdp, tensor and mixed; None for others."""
    tensor, spec = by_name(name).tensor, by_name(name).make(0.0)
    if mode == "data":
        return place(spec, make_mesh({"data": 8}), {})
    if mode == "fsdp":
        return place(spec, make_mesh({"data": 8}), FSDP)
    if mode == "tensor":
        return place(spec, make_mesh({"model": 4}, jax.devices()[:4]), tensor)
    if mode == "mixed":
        return place(spec, make_mesh({"data": 2, "model": 4}), FSDP_TENSOR if name == "gpt" else {**tensor, **FSDP})
    return None


def step_of(name, rate, *, mode="single", accumulate=2):
    model: Model = by_name(name).make(rate)
    axis_name = "data" if mode == "pmap" else None
    if axis_name is not None:
        model = synchronized(model, axis_name)
    loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
    placement = placement_of(name, mode)
    return make_step(loss, OPTIMIZER, accumulate=accumulate, axis_name=axis_name, placement=placement)
