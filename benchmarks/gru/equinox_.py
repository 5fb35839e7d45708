"""Equinox: scans of eqx.nn.GRUCell, jax.vmap over the sequences, eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks import gru as case
from benchmarks.lstm.equinox_ import train


class Layer(eqx.Module):
    forward: eqx.nn.GRUCell
    backward: eqx.nn.GRUCell

    def __call__(self, x):
        def run_cell(cell, reverse):
            def step(hidden, x):
                hidden = cell(x, hidden)
                return hidden, hidden

            return jax.lax.scan(step, jnp.zeros(case.UNITS), x, reverse=reverse)[1]

        return jnp.concatenate([run_cell(self.forward, False), run_cell(self.backward, True)], axis=-1)


def make_cell(weights, path):
    arrays = [
        jnp.asarray(weights[f"{path}/{name}"].T) for name in ("input_kernel", "hidden_kernel", "bias", "hidden_bias")
    ]
    cell = eqx.nn.GRUCell(arrays[0].shape[1], case.UNITS, key=jax.random.key(0))
    return eqx.tree_at(lambda node: (node.weight_ih, node.weight_hh, node.bias, node.bias_n), cell, arrays)


def apply(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def prepare(weights, x, y):
    layers = [
        Layer(make_cell(weights, f"{i}/forward"), make_cell(weights, f"{i}/backward")) for i in range(case.LAYERS)
    ]
    return train(apply, layers, case.batches(x, y))
