"""Flax Linen: nn.Bidirectional of nn.RNN reads, and nn.scan over a GRUCell with attention writes; jax.jit, donation."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks import seq2seq as case
from benchmarks.gru.flax_linen import cell
from benchmarks.loops import one_by_one
from benchmarks.peer import cycle

ENCODER = nn.Bidirectional(*(nn.RNN(nn.GRUCell(case.HIDDEN)) for _ in range(2)), return_carry=True)


class Step(nn.Module):
    @nn.compact
    def __call__(self, state, x, memory, projected):
        score = self.param("score", nn.initializers.normal(), (case.HIDDEN,))
        query = nn.Dense(case.HIDDEN, name="query")(state)
        weights = jax.nn.softmax(jnp.tanh(query[:, None] + projected) @ score)
        context = jnp.einsum("bt,btf->bf", weights, memory)
        state, y = nn.GRUCell(case.HIDDEN, name="cell")(state, jnp.concatenate([x, context], axis=-1))
        return state, jnp.concatenate([y, context, x], axis=-1)


class Seq2Seq(nn.Module):
    @nn.compact
    def __call__(self, source, target):
        x = nn.Embed(case.SOURCE, case.EMBEDDING, name="source")(source)
        ends, memory = ENCODER.copy(name="encoder")(x)
        projected = nn.Dense(case.HIDDEN, use_bias=False, name="memory")(memory)
        state = jnp.tanh(nn.Dense(case.HIDDEN, name="begin")(jnp.concatenate(ends, axis=-1)))
        axes = 1, nn.broadcast, nn.broadcast
        scan = nn.scan(Step, variable_broadcast="params", split_rngs={"params": False}, in_axes=axes, out_axes=1)
        x = nn.Embed(case.TARGET, case.EMBEDDING, name="target")(target)
        _, features = scan(name="decoder")(state, x, memory, projected)
        return nn.Dense(case.TARGET, name="out")(features)


def arrays(weights):
    """Linen's parameters."""
    linear = {"begin": "begin/hidden", "memory": "attention/memory", "out": "out", "query": "attention/query"}
    dense = {
        name: {part: weights[f"{path}/{part}"] for part in ("kernel", "bias") if f"{path}/{part}" in weights}
        for name, path in linear.items()
    }
    decoder = {"query": dense.pop("query"), "score": weights["attention/score"], "cell": cell(weights, "decoder")}
    encoder = {f"{way}_rnn": {"cell": cell(weights, f"encoder/{way}")} for way in ("forward", "backward")}
    tables = {name: {"embedding": weights[f"{name}/embedding"]} for name in ("source", "target")}
    return dense | tables | {"encoder": encoder, "decoder": decoder}


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, source, target, labels):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, source, target)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def prepare(weights, source, target):
    return train(case, Seq2Seq(), arrays(weights), source, target)


def train(case, model, params, source, target):
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), optax.adam(case.RATE))
    state = TrainState.create(apply_fn=model.apply, params=jax.tree.map(jnp.asarray, params), tx=optimizer)
    advance = cycle(jax.device_put(case.batches(source, target)))
    return one_by_one(train_step, state, advance)
