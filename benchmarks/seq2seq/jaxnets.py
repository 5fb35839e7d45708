"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import seq2seq as case
from benchmarks.loops import many_at_once
from jaxnets import losses
from jaxnets.models import Seq2SeqConfig, SourceTarget, seq2seq
from jaxnets.training import TrainState, make_step, supervised


def load(shapes, weights):
    def leaf(path, _):
        return jnp.asarray(weights[jax.tree_util.keystr(path, simple=True, separator="/")])

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def prepare(weights, source, target):
    model = seq2seq(Seq2SeqConfig(case.SOURCE, case.TARGET, embedding=case.EMBEDDING, hidden=case.HIDDEN))
    params = load(jax.eval_shape(model.init, jax.random.key(0))[0], weights)
    return train(case, model, params, source, target)


def train(case, model, params, source, target):
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), optax.adam(case.RATE))
    loss = supervised(model, losses.cross_entropy)
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((SourceTarget(source, target[:, :-1]), target[:, 1:]))
    return many_at_once(make_step(loss, optimizer), state, data, case)
