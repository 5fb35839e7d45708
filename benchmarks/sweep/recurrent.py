"""LSTM and GRU over whole sequences. Plain JAX is a scan whose inputs are multiplied by their kernel before it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.sweep.case import Case, Operation, Range, Settings, draw_batch, draw_integer, ranges
from jaxnets import nn

GATES = {"LSTM": 4, "GRU": 3}
FEATURES = (8, 512)


def draw(row: tuple[str, Range], column: Range, generator: np.random.Generator) -> Settings:
    (layer, steps), units = row, draw_integer(column, generator)
    time, fan_in = draw_integer(steps, generator), draw_integer(FEATURES, generator)
    batch = draw_batch(time * GATES[layer] * units * (fan_in + units), generator)
    return {"layer": layer, "batch": batch, "steps": time, "in_features": fan_in, "units": units}


def lstm_step(carry, drive, hidden_kernel, hidden_bias):
    hidden, cell = carry
    i, f, g, o = jnp.split(drive + hidden @ hidden_kernel + hidden_bias, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
    return (hidden, cell), hidden


def gru_step(carry, drive, hidden_kernel, hidden_bias):
    x_r, x_z, x_n = jnp.split(drive, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(carry[0] @ hidden_kernel, 3, axis=-1)
    reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    new = jnp.tanh(x_n + reset * (h_n + hidden_bias))
    hidden = (1 - update) * new + update * carry[0]
    return (hidden,), hidden


def make_case(*, layer: str, batch: int, steps: int, in_features: int, units: int) -> Case:
    gates = GATES[layer]
    biases = {"LSTM": ("bias",), "GRU": ("bias", "hidden_bias")}[layer]

    def ours(x, **params):
        return {"LSTM": nn.lstm, "GRU": nn.gru}[layer](params, x)[0]

    def plain(x, input_kernel, hidden_kernel, bias, hidden_bias=0.0):
        drive = jnp.swapaxes(x, 0, 1) @ input_kernel + bias
        step = {"LSTM": lstm_step, "GRU": gru_step}[layer]
        carry = (jnp.zeros((batch, units)),) * (2 if layer == "LSTM" else 1)
        y = jax.lax.scan(lambda carry, drive: step(carry, drive, hidden_kernel, hidden_bias), carry, drive)[1]
        return jnp.swapaxes(y, 0, 1)

    def theirs(x, input_kernel, hidden_kernel, bias, hidden_bias=None):
        second = torch.zeros(gates * units)
        if hidden_bias is not None:  # ours and that of Keras have no second bias of the reset and the update gate
            second = torch.cat([second[: 2 * units], hidden_bias])
        run = {"LSTM": torch.lstm, "GRU": torch.gru}[layer]
        start = torch.zeros(1, batch, units)
        weights = [input_kernel, hidden_kernel, bias, second]
        return run(x, (start, start) if layer == "LSTM" else start, weights, True, 1, 0.0, True, False, True)[0]

    kernels = {"input_kernel": (in_features, gates * units), "hidden_kernel": (units, gates * units)}
    sizes = {"bias": (gates * units,), "hidden_bias": (units,)}
    return Case(
        shapes={**kernels, **{name: sizes[name] for name in biases}, "x": (batch, steps, in_features)},
        programs={"jaxnets": ours, "jax": plain, "pytorch": theirs},
        torch_axes=dict.fromkeys(kernels, (1, 0)),
    )


OPERATION = Operation(
    title="Recurrent layers: steps; units",
    rows={
        f"{layer}, {label} steps": (layer, within)
        for layer in GATES
        for label, within in ranges(8, 22, 64, 181, 512).items()
    },
    columns={f"{label} units": within for label, within in ranges(8, 22, 64, 181, 512).items()},
    draw=draw,
    case=make_case,
)
