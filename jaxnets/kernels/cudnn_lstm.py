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
    y, *ends = _run(jnp.flip(rows, 1) if reverse else rows, *states, _pack(params))
    y = (jnp.flip(y, 1) if reverse else y).reshape((*leading, time, units))
    hidden, cell = (end.reshape((*leading, units)) for end in ends)
    return y, hidden, cell


def _pack(params: Params) -> Array:
    """All arrays one after the other, as cuDNN wants them: kernels transposed, and a bias beside each of them."""
    names = ("input_kernel", "hidden_kernel")
    kernels = [jnp.asarray(params[name], jnp.float32).T.reshape(-1) for name in names]
    nothing = jnp.zeros(params["hidden_kernel"].shape[1], jnp.float32)
    bias = nothing if params.get("bias") is None else jnp.asarray(params["bias"], jnp.float32)
    return jnp.concatenate([*kernels, bias, nothing])


def _forward(x: Array, hidden: Array, cell: Array, weights: Array) -> tuple[_Result, Any]:
    from jax.experimental import rnn

    lengths = jnp.full(x.shape[0], x.shape[1], jnp.int32)
    result: tuple[_Result, Any] = rnn.lstm_fwd(x, hidden, cell, weights, lengths, **_settings(x, hidden))
    return result


def _backward(saved: Any, cotangents: _Result) -> tuple[Array, ...]:
    from jax.experimental import rnn

    *gradients, _ = rnn.lstm_bwd(**_settings(*saved[:2]), residuals=saved, gradients=cotangents)
    return tuple(gradients)


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
def _run(x: Array, hidden: Array, cell: Array, weights: Array) -> _Result:
    return _forward_mapped(x, hidden, cell, weights)[0]


_run.defvjp(_forward_mapped, sequential_vmap(_backward))
