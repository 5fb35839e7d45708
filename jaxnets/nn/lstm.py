"""Long short-term memory."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.kernels.cudnn_lstm import check_cudnn_lstm, cudnn_lstm
from jaxnets.layer import layer, names_errors
from jaxnets.nn.recurrent import (
    Recurrence,
    affine,
    cast_like,
    check_sequence,
    initial_carry,
    recurrence_spec,
    run_cell,
    run_sequence,
)
from jaxnets.spec import Spec
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params


class LSTMCarry(NamedTuple):
    """What an LSTM hands from step to step.

    Attributes:
        hidden: the hidden state h `[..., hidden]`, which is also the result of the step.
        cell: the cell state c `[..., hidden]`.
    """

    hidden: Array
    cell: Array


def _step(params: Params, carry: LSTMCarry, x: Array) -> LSTMCarry:
    z = affine(x, params["input_kernel"], params.get("bias")) + affine(carry.hidden, params["hidden_kernel"])
    i, f, g, o = jnp.split(z, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * carry.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return LSTMCarry(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


_LSTM = Recurrence(name="lstm", gates=4, initial=lambda zeros: LSTMCarry(zeros, zeros), step=_step)


@names_errors
def lstm_spec(
    in_features: int,
    hidden: int,
    *,
    bias: bool = True,
    forget_bias: float = 1.0,
    input_init: Initializer = jax.nn.initializers.lecun_normal(),
    hidden_init: Initializer = jax.nn.initializers.orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `lstm` and `lstm_cell`.

    The columns of each array are the input gate i, the forget gate f, the candidate g and the output gate o, in this
    order, `hidden` columns each.

    Args:
        in_features: size of the input's last axis.
        hidden: size of the hidden and of the cell state, which is the result's last axis.
        bias: whether there is a bias.
        forget_bias: added to what `bias_init` gives for the forget gate. With 1 the cell begins by remembering.
        input_init: initializes the input kernel, each gate on its own; by default normal, of variance 1/in_features.
        hidden_init: initializes the hidden kernel, each gate on its own; by default orthogonal.
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `input_kernel` `[in_features, 4 * hidden]`, `hidden_kernel` `[hidden, 4 * hidden]` and, if `bias`,
        `bias` `[4 * hidden]`.

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> {name: array.shape for name, array in lstm_spec(3, 5).items()}
        {'input_kernel': (3, 20), 'hidden_kernel': (5, 20), 'bias': (20,)}

    Reference:
        Jozefowicz, Zaremba, Sutskever, An Empirical Exploration of Recurrent Network Architectures, 2015 (forget bias).

    Warning:
        PyTorch and Flax initialize the forget bias without that 1, Keras with it.
    """

    def with_forget_bias(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return bias_init(key, shape, dtype).at[hidden : 2 * hidden].add(forget_bias)

    return recurrence_spec(_LSTM, in_features, hidden, bias, input_init, hidden_init, with_forget_bias)


@names_errors
def lstm_carry(params: Params, *, batch: int | tuple[int, ...], dtype: DTypeLike = jnp.float32) -> LSTMCarry:
    """Return the carry before the first step: hidden and cell states of zeros.

    Args:
        params: the parameters of the layer.
        batch: the number of sequences, or all leading axes, `()` for none.
        dtype: dtype of the carry.

    Returns:
        `LSTMCarry(hidden, cell)`, both `[*batch, hidden]`.

    Raises:
        ValueError: if `params` are not those of one layer.

    Example:
        >>> lstm_carry({"hidden_kernel": jnp.ones((2, 8))}, batch=3).cell.shape
        (3, 2)
    """
    carry: LSTMCarry = initial_carry(_LSTM, params, batch, dtype)
    return carry


@layer
def lstm_cell(params: Params, carry: LSTMCarry, x: Array) -> tuple[LSTMCarry, Array]:
    """Do one step: $c' = f c + i g$, $h' = o tanh(c')$.

    Each of i, f, o is the sigmoid, and g the tanh, of its columns of x W_input + h W_hidden + b.

    Args:
        params: `input_kernel` `[in_features, 4 * hidden]`, `hidden_kernel` `[hidden, 4 * hidden]` and maybe `bias`
            `[4 * hidden]`, columns in the order i, f, g, o.
        carry: `LSTMCarry(hidden, cell)`, both `[..., hidden]`.
        x: `[..., in_features]`, floating point.

    Returns:
        `(carry, y)`: `LSTMCarry(h', c')` in the dtype of the carry, and h' `[..., hidden]` in that of `x`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        Generation, in which each result is the next input:

        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.lstm_spec(4, 4), jax.random.key(0))
        >>> def step(state, _):
        ...     carry, x = state
        ...     carry, y = nn.lstm_cell(params, carry, x)
        ...     return (carry, y), y
        >>> start = nn.lstm_carry(params, batch=2), jnp.ones((2, 4))
        >>> _, generated = jax.lax.scan(step, start, length=10)
        >>> generated.shape
        (10, 2, 4)

    Reference:
        Hochreiter, Schmidhuber, Long Short-Term Memory, 1997; Gers, Schmidhuber, Cummins, Learning to Forget, 2000.
    """
    return run_cell(_LSTM, params, carry, x)


@layer
def lstm(
    params: Params,
    x: Array,
    *,
    carry: LSTMCarry | None = None,
    mask: Array | None = None,
    reverse: bool = False,
    implementation: Literal["scan", "cudnn"] = "scan",
) -> tuple[Array, LSTMCarry]:
    """Run `lstm_cell` over a sequence: $c_t = f_t c_(t-1) + i_t g_t$, $h_t = o_t tanh(c_t)$.

    Args:
        params: `input_kernel` `[in_features, 4 * hidden]`, `hidden_kernel` `[hidden, 4 * hidden]` and maybe `bias`
            `[4 * hidden]`, columns in the order i, f, g, o.
        x: `[..., time, in_features]`, floating point. Its dtype is the result's; parameters are cast to it.
        carry: the carry before the first step, both arrays `[..., hidden]`; None for zeros, float32 at least.
        mask: boolean `[..., time]`, True at real steps; None if all are. Other steps leave the carry as it is, have
            zeros as result, and may hold anything in `x`.
        reverse: whether to run from the last step to the first. The results stay in the places of their inputs.
        implementation: `"scan"` runs everywhere. `"cudnn"` is the kernel of NVIDIA GPUs for float32 without a mask; it
            has reverse mode only, and `jax.vmap` runs networks one after the other.

    Returns:
        `(y, carry)`: the hidden states `[..., time, hidden]`, and the carry after the last step.

    Raises:
        ValueError: if shapes do not fit, there is no such implementation, or cuDNN's gets a mask or has no GPU.
        TypeError: if `x` is not floating point, for cuDNN not float32, or the mask not boolean.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.lstm_spec(3, 4), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (2, 6, 3))
        >>> y, carry = nn.lstm(params, x)
        >>> y.shape, bool(jnp.all(carry.hidden == y[:, -1]))
        ((2, 6, 4), True)
        >>> lengths = jnp.array([6, 2])
        >>> y, carry = nn.lstm(params, x, mask=jnp.arange(6)[None] < lengths[:, None])
        >>> bool(jnp.all(y[1, 2:] == 0)), bool(jnp.all(carry.hidden[1] == y[1, 1]))
        (True, True)

    Reference:
        Hochreiter, Schmidhuber, Long Short-Term Memory, 1997; Gers, Schmidhuber, Cummins, Learning to Forget, 2000.

    Warning:
        PyTorch has two biases, which it adds, and its weights are the transposes of the kernels here;
        `jaxnets.weights` converts them. Its `batch_first` is False by default.
    """
    if implementation == "scan":
        return run_sequence(_LSTM, params, x, carry, mask, reverse)
    if implementation != "cudnn":
        raise ValueError(f"implementation must be 'scan' or 'cudnn', got {implementation!r}")
    start = check_sequence(_LSTM, params, x, carry, mask)
    check_cudnn_lstm(x, mask)
    hidden, cell = (jnp.asarray(state, jnp.float32) for state in start)
    y, *end = cudnn_lstm(params, x, hidden, cell, reverse=reverse)
    return y, cast_like(start, LSTMCarry(*end))
