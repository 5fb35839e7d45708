"""Recurrent layers to and from PyTorch's `RNN`, `LSTM` and `GRU`, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.spec import Spec
from jaxnets.types import Array, ArrayLike, Params
from jaxnets.weights.files import misfits
from jaxnets.weights.torch_layout import host_array, torch_array

_GRU_GATES = 3


def recurrent_from_torch(weights: Mapping[str, ArrayLike], spec: Spec, *, module: str = "") -> Params:
    """Make the parameters that `spec` describes of the `state_dict` of a PyTorch `RNN`, `LSTM` or `GRU`.

    PyTorch's two biases become their sum, except in the candidate of a GRU, where they stay apart.

    Args:
        weights: PyTorch's names (`weight_ih_l0`, `bias_hh_l1_reverse`, ...) with numpy arrays or CPU tensors.
        spec: what `simple_rnn_spec`, `lstm_spec`, `gru_spec`, or `bidirectional_spec` or `stacked_spec` of them
            returned, or parameters of that form.
        module: the name of the module, for errors.

    Returns:
        The parameters, in the dtypes of the weights.

    Raises:
        ValueError: if an entry is missing, not expected or of another shape; the message lists all of them.

    Example:
        >>> import jax
        >>> from jaxnets import init, nn
        >>> spec = nn.stacked_spec(nn.gru_spec, 3, 4, count=2, bidirectional=True)
        >>> params, _ = init(spec, jax.random.key(0))
        >>> weights = recurrent_to_torch(params)
        >>> sorted(weights)[:3], len(weights)
        (['bias_hh_l0', 'bias_hh_l0_reverse', 'bias_hh_l1'], 16)
        >>> jax.tree.all(jax.tree.map(jnp.array_equal, recurrent_from_torch(weights, spec), params))
        True
    """
    arrays = {name: host_array(array) for name, array in weights.items()}
    expected = {
        name: shape for suffix, layer in _layers(spec) for name, shape in _expected_shapes(layer, suffix).items()
    }
    if problems := misfits(arrays, expected):
        of = f" of {module!r}" if module else ""
        raise ValueError(f"recurrent_from_torch: the weights{of} do not fit the spec: " + "; ".join(problems))
    layers = {suffix: _from_torch(arrays, layer, suffix) for suffix, layer in _layers(spec)}
    return _rebuild(spec, layers)


def recurrent_to_torch(params: Params) -> dict[str, np.ndarray[Any, Any]]:
    """Make the `state_dict` of a PyTorch `RNN`, `LSTM` or `GRU` of the parameters of such layers here.

    Of PyTorch's two biases the first is the bias here and the second is zero, except in the candidate of a GRU.

    Args:
        params: the parameters of `simple_rnn`, `lstm` or `gru`, or of `bidirectional` or `stacked` ones.

    Returns:
        PyTorch's names with numpy arrays, bfloat16 ones in float32.
        `module.load_state_dict({name: torch.tensor(array) for name, array in ....items()})` loads them.

    Example:
        >>> import jax
        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.lstm_spec(3, 4), jax.random.key(0))
        >>> {name: array.shape for name, array in recurrent_to_torch(params).items()}
        {'weight_ih_l0': (16, 3), 'weight_hh_l0': (16, 4), 'bias_ih_l0': (16,), 'bias_hh_l0': (16,)}
    """
    return {name: array for suffix, layer in _layers(params) for name, array in _to_torch(layer, suffix).items()}


def _layers(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield PyTorch's suffix and the arrays of each single layer."""
    for index, entry in enumerate(tree if isinstance(tree, list | tuple) else [tree]):
        if "forward" in entry:
            yield f"l{index}", entry["forward"]
            yield f"l{index}_reverse", entry["backward"]
        else:
            yield f"l{index}", entry


def _rebuild(spec: Spec, layers: dict[str, Params]) -> Params:
    """Arrange converted layers as `spec` does."""
    entries = [
        {"forward": layers[f"l{index}"], "backward": layers[f"l{index}_reverse"]}
        if "forward" in entry
        else layers[f"l{index}"]
        for index, entry in enumerate(spec if isinstance(spec, list | tuple) else [spec])
    ]
    return entries if isinstance(spec, list | tuple) else entries[0]


def _is_gru(layer: Any) -> bool:
    hidden, columns = layer["hidden_kernel"].shape
    return bool(columns == _GRU_GATES * hidden)


def _expected_shapes(layer: Any, suffix: str) -> dict[str, tuple[int, ...]]:
    shapes = {
        f"weight_ih_{suffix}": layer["input_kernel"].shape[::-1],
        f"weight_hh_{suffix}": layer["hidden_kernel"].shape[::-1],
    }
    if "bias" in layer:
        shapes |= {f"bias_ih_{suffix}": layer["bias"].shape, f"bias_hh_{suffix}": layer["bias"].shape}
    return shapes


def _from_torch(arrays: dict[str, np.ndarray[Any, Any]], layer: Any, suffix: str) -> dict[str, Array]:
    params = {
        "input_kernel": jnp.asarray(arrays[f"weight_ih_{suffix}"].T),
        "hidden_kernel": jnp.asarray(arrays[f"weight_hh_{suffix}"].T),
    }
    if "bias" not in layer:
        return params
    bias, hidden_bias = arrays[f"bias_ih_{suffix}"], arrays[f"bias_hh_{suffix}"]
    if not _is_gru(layer):
        return {**params, "bias": jnp.asarray(bias + hidden_bias)}
    apart = 2 * layer["hidden_kernel"].shape[0]
    return {
        **params,
        "bias": jnp.asarray(np.concatenate([bias[:apart] + hidden_bias[:apart], bias[apart:]])),
        "hidden_bias": jnp.asarray(hidden_bias[apart:]),
    }


def _to_torch(layer: Any, suffix: str) -> dict[str, np.ndarray[Any, Any]]:
    weights = {
        f"weight_ih_{suffix}": torch_array(layer["input_kernel"]).T.copy(),
        f"weight_hh_{suffix}": torch_array(layer["hidden_kernel"]).T.copy(),
    }
    if "bias" not in layer:
        return weights
    bias = torch_array(layer["bias"])
    hidden_bias = np.zeros_like(bias)
    if _is_gru(layer):
        hidden_bias[2 * layer["hidden_kernel"].shape[0] :] = torch_array(layer["hidden_bias"])
    return {**weights, f"bias_ih_{suffix}": bias.copy(), f"bias_hh_{suffix}": hidden_bias}
