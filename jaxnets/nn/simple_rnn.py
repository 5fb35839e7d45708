"""The simple (Elman) recurrent network."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxnets.layer import layer, names_errors
from jaxnets.nn.recurrent import Recurrence, affine, initial_carry, recurrence_spec, run_cell, run_sequence
from jaxnets.spec import Spec
from jaxnets.types import Array, DTypeLike, Initializer, Params


def _step(params: Params, hidden: Array, x: Array, *, activation: Callable[[Array], Array]) -> Array:
    return activation(affine(x, params["input_kernel"], params.get("bias")) + affine(hidden, params["hidden_kernel"]))


_SIMPLE_RNN = Recurrence(name="simple_rnn", gates=1, initial=lambda zeros: zeros, step=_step)


@names_errors
def simple_rnn_spec(
    in_features: int,
    hidden: int,
    *,
    bias: bool = True,
    input_init: Initializer = jax.nn.initializers.lecun_normal(),
    hidden_init: Initializer = jax.nn.initializers.orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `simple_rnn` and `simple_rnn_cell`.

    Args:
        in_features: size of the input's last axis.
        hidden: size of the hidden state, which is the result's last axis.
        bias: whether there is a bias.
        input_init: initializes the input kernel; by default normal, of variance 1/in_features.
        hidden_init: initializes the hidden kernel; by default orthogonal.
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `input_kernel` `[in_features, hidden]`, `hidden_kernel` `[hidden, hidden]` and, if `bias`, `bias`
        `[hidden]`.

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> {name: array.shape for name, array in simple_rnn_spec(3, 5).items()}
        {'input_kernel': (3, 5), 'hidden_kernel': (5, 5), 'bias': (5,)}
    """
    return recurrence_spec(_SIMPLE_RNN, in_features, hidden, bias, input_init, hidden_init, bias_init)


@names_errors
def simple_rnn_carry(params: Params, *, batch: int | tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
    """Return the carry before the first step: a hidden state of zeros `[*batch, hidden]`.

    Args:
        params: the parameters of the layer.
        batch: the number of sequences, or all leading axes, `()` for none.
        dtype: dtype of the carry.

    Returns:
        `[*batch, hidden]`.

    Raises:
        ValueError: if `params` are not those of one layer.

    Example:
        >>> simple_rnn_carry({"hidden_kernel": jnp.ones((2, 2))}, batch=3).shape
        (3, 2)
    """
    carry: Array = initial_carry(_SIMPLE_RNN, params, batch, dtype)
    return carry


@layer
def simple_rnn_cell(
    params: Params, carry: Array, x: Array, *, activation: Callable[[Array], Array] = jnp.tanh
) -> tuple[Array, Array]:
    """Do one step: $h' = f(x W_input + h W_hidden + b)$.

    Args:
        params: `input_kernel` `[in_features, hidden]`, `hidden_kernel` `[hidden, hidden]` and maybe `bias` `[hidden]`.
        carry: the hidden state h, `[..., hidden]`.
        x: `[..., in_features]`, floating point.
        activation: f, a function of each entry alone.

    Returns:
        `(carry, y)`: both are h', the carry in the dtype of the carry and y in that of `x`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> params = {"input_kernel": jnp.array([[1.0]]), "hidden_kernel": jnp.array([[-1.0]])}
        >>> simple_rnn_cell(params, jnp.array([2.0]), jnp.array([2.0]))
        (Array([0.], dtype=float32), Array([0.], dtype=float32))

    Reference:
        Elman, Finding Structure in Time, 1990.
    """
    return run_cell(_SIMPLE_RNN, params, carry, x, activation=activation)


@layer
def simple_rnn(
    params: Params,
    x: Array,
    *,
    carry: Array | None = None,
    mask: Array | None = None,
    reverse: bool = False,
    activation: Callable[[Array], Array] = jnp.tanh,
) -> tuple[Array, Array]:
    """Run `simple_rnn_cell` over a sequence: $h_t = f(x_t W_input + h_(t-1) W_hidden + b)$.

    Args:
        params: `input_kernel` `[in_features, hidden]`, `hidden_kernel` `[hidden, hidden]` and maybe `bias` `[hidden]`.
        x: `[..., time, in_features]`, floating point. Its dtype is the result's; parameters are cast to it.
        carry: the hidden state before the first step, `[..., hidden]`; None for zeros, float32 at least.
        mask: boolean `[..., time]`, True at real steps; None if all are. Other steps leave the hidden state as it is,
            have zeros as result, and may hold anything in `x`.
        reverse: whether to run from the last step to the first. The results stay in the places of their inputs.
        activation: f, a function of each entry alone.

    Returns:
        `(y, carry)`: the hidden states `[..., time, hidden]`, and the last one `[..., hidden]`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point, or the mask not boolean.

    Example:
        >>> params = {"input_kernel": jnp.array([[1.0]]), "hidden_kernel": jnp.array([[-1.0]])}
        >>> y, carry = simple_rnn(params, jnp.array([[[2.0], [3.0], [4.0]]]), activation=jax.nn.relu)
        >>> y[0, :, 0], carry[0]
        (Array([2., 1., 3.], dtype=float32), Array([3.], dtype=float32))

    Reference:
        Elman, Finding Structure in Time, 1990.

    Warning:
        PyTorch's `RNN` has two biases, which it adds, and its weights are the transposes of the kernels here;
        `jaxnets.weights` converts them.
    """
    return run_sequence(_SIMPLE_RNN, params, x, carry, mask, reverse, activation=activation)
