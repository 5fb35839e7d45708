"""cuDNN's LSTM, from `jax.experimental.rnn`, made to work under `jax.vmap`: networks run one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from jaxnets.backend import platform
from jaxnets.types import Array, Params

_Result: TypeAlias = tuple[Array, Array, Array]
_Arrays: TypeAlias = tuple[Array, Array, Array]


def check_cudnn_lstm(x: Array, mask: Array | None) -> None:
    """Refuse what cuDNN's kernel cannot do.

    Raises:
        ValueError: if there is a mask, or the function that is traced will not run on a GPU.
        TypeError: if `x` is not float32.
    """
    instead = "take implementation='scan'"
    if platform() != "gpu":
        raise ValueError(f"implementation='cudnn' needs an NVIDIA GPU, this is traced for {platform()}; {instead}")
    if x.dtype != jnp.float32:
        raise TypeError(f"implementation='cudnn' computes in float32 only, got x of {x.dtype}; {instead}")
    if mask is not None:
        raise ValueError(f"implementation='cudnn' takes no mask; {instead}")


def cudnn_lstm(params: Params, x: Array, hidden: Array, cell: Array, *, reverse: bool) -> _Result:
    """Run over x `[..., time, in]` from the states `[..., hidden]`; return y `[..., time, hidden]` and both states."""
    *leading, time, in_features = x.shape
    units = hidden.shape[-1]
    rows = x.reshape((math.prod(leading), time, in_features))
    states = (state.reshape((1, len(rows), units)) for state in (hidden, cell))  # one layer
    y, *ends = _run(jnp.flip(rows, 1) if reverse else rows, *states, _arrays(params))
    y = (jnp.flip(y, 1) if reverse else y).reshape((*leading, time, units))
    hidden, cell = (end.reshape((*leading, units)) for end in ends)
    return y, hidden, cell


def _arrays(params: Params) -> _Arrays:
    """The kernels and the bias, in float32."""
    input_kernel, hidden_kernel = (jnp.asarray(params[name], jnp.float32) for name in ("input_kernel", "hidden_kernel"))
    bias = jnp.zeros(hidden_kernel.shape[1]) if params.get("bias") is None else params["bias"]
    return input_kernel, hidden_kernel, jnp.asarray(bias, jnp.float32)


def _pack(arrays: _Arrays) -> Array:
    """All arrays one after the other, as cuDNN wants them: kernels transposed, and a bias beside each of them."""
    input_kernel, hidden_kernel, bias = arrays
    return jnp.concatenate([input_kernel.T.reshape(-1), hidden_kernel.T.reshape(-1), bias, jnp.zeros_like(bias)])


def _forward(x: Array, hidden: Array, cell: Array, arrays: _Arrays) -> tuple[_Result, Any]:
    from jax.experimental import rnn

    lengths = jnp.full(x.shape[0], x.shape[1], jnp.int32)
    result, saved = rnn.lstm_fwd(x, hidden, cell, _pack(arrays), lengths, **_settings(x, hidden))
    return result, (saved, arrays)


def _backward(saved_and_arrays: Any, cotangents: _Result) -> tuple[Any, ...]:
    from jax.experimental import rnn

    saved, arrays = saved_and_arrays
    *gradients, weights, _ = rnn.lstm_bwd(**_settings(*saved[:2]), residuals=saved, gradients=cotangents)
    # Taken apart here, inside of the loop that maps it: XLA (0.11) loses the gradient of the packed weights where the
    # kernel would write it into the loop's result.
    return *gradients, *jax.linear_transpose(_pack, arrays)(weights)


def _settings(x: Array, hidden: Array) -> dict[str, Any]:
    return {
        "input_size": x.shape[-1],
        "hidden_size": hidden.shape[-1],
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": False,
        "precision": None,  # as jax_default_matmul_precision says
    }


_forward_mapped: Callable[..., tuple[_Result, Any]] = sequential_vmap(_forward)


@jax.custom_vjp
def _run(x: Array, hidden: Array, cell: Array, arrays: _Arrays) -> _Result:
    return _forward_mapped(x, hidden, cell, arrays)[0]


_run.defvjp(_forward_mapped, sequential_vmap(_backward))
