"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp

from benchmarks import translation as case
from benchmarks.seq2seq.jaxnets import train
from jaxnets.models import TransformerConfig, transformer


def stack(blocks):
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *blocks)


def prepare(weights, source, target):
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES, "hidden": case.HIDDEN}
    model = transformer(TransformerConfig(case.VOCABULARY, case.VOCABULARY, shared=True, dropout_rate=0.0, **sizes))
    stacked = weights | {name: stack(weights[name]) for name in ("encoder", "decoder")}
    return train(case, model, jax.device_put(stacked), source, target)
