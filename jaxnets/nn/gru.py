"""Gated recurrent units."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.layer import layer, names_errors
from jaxnets.nn.initializers import torch_uniform
from jaxnets.nn.recurrent import (
    Recurrence,
    affine,
    initial_carry,
    recurrence_spec,
    run_cell,
    run_sequence,
    sum_of_two,
)
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, DTypeLike, Initializer, Params


def _step(params: Params, hidden: Array, x: Array) -> Array:
    x_r, x_z, x_n = jnp.split(affine(x, params["input_kernel"], params.get("bias")), 3, axis=-1)
    h_r, h_z, h_n = jnp.split(affine(hidden, params["hidden_kernel"]), 3, axis=-1)
    if "hidden_bias" in params:
        h_n = h_n + jnp.broadcast_to(params["hidden_bias"], h_n.shape)
    r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    return (1 - z) * n + z * hidden


_GRU = Recurrence(name="gru", gates=3, initial=lambda zeros: zeros, step=_step)


@names_errors
def gru_spec(
    in_features: int,
    hidden: int,
    *,
    bias: bool = True,
    input_init: Initializer = jax.nn.initializers.lecun_normal(),
    hidden_init: Initializer = jax.nn.initializers.orthogonal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `gru` and `gru_cell`.

    The columns of each array are the reset gate r, the update gate z and the candidate n, in this order, `hidden`
    columns each.

    Args:
        in_features: size of the input's last axis.
        hidden: size of the hidden state, which is the result's last axis.
        bias: whether there are biases.
        input_init: initializes the input kernel, each gate on its own; by default normal, of variance 1/in_features.
        hidden_init: initializes the hidden kernel, each gate on its own; by default orthogonal.
        bias_init: initializes the biases; by default zeros.

    Returns:
        A spec with `input_kernel` `[in_features, 3 * hidden]`, `hidden_kernel` `[hidden, 3 * hidden]` and, if `bias`,
        `bias` `[3 * hidden]` and `hidden_bias` `[hidden]`, the candidate's bias inside the product with r.

    Raises:
        ValueError: if a size is not positive.

    Example:
        >>> {name: array.shape for name, array in gru_spec(3, 5).items()}
        {'input_kernel': (3, 15), 'hidden_kernel': (5, 15), 'bias': (15,), 'hidden_bias': (5,)}
    """
    spec = recurrence_spec(_GRU, in_features, hidden, bias, input_init, hidden_init, bias_init)
    if not bias:
        return spec
    torch_init = torch_uniform(hidden)
    # PyTorch adds its two biases in r and z; in n they stay apart.
    parted = ArraySpec(
        spec["bias"].shape, bias_init, axes=("out",), torch_initializer=sum_of_two(torch_init, 2 * hidden)
    )
    hidden_bias = ArraySpec((hidden,), bias_init, axes=("hidden",), torch_initializer=torch_init)
    return {**spec, "bias": parted, "hidden_bias": hidden_bias}


@names_errors
def gru_carry(params: Params, *, batch: int | tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
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
        >>> gru_carry({"hidden_kernel": jnp.ones((2, 6))}, batch=3).shape
        (3, 2)
    """
    carry: Array = initial_carry(_GRU, params, batch, dtype)
    return carry


@layer
def gru_cell(params: Params, carry: Array, x: Array) -> tuple[Array, Array]:
    """Do one step: $h' = (1 - z) n + z h$.

    $n = tanh(x W_n + b_n + r (h U_n + b_hidden))$
    $r, z = sigmoid(x W + h U + b)$

    Args:
        params: `input_kernel` W `[in_features, 3 * hidden]`, `hidden_kernel` U `[hidden, 3 * hidden]` and maybe `bias`
            b `[3 * hidden]` and `hidden_bias` `[hidden]`, columns in the order r, z, n.
        carry: the hidden state h, `[..., hidden]`.
        x: `[..., in_features]`, floating point.

    Returns:
        `(carry, y)`: both are h', the carry in the dtype of the carry and y in that of `x`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> params = {"input_kernel": jnp.zeros((1, 3)), "hidden_kernel": jnp.zeros((1, 3))}
        >>> gru_cell(params, jnp.array([2.0]), jnp.array([5.0]))
        (Array([1.], dtype=float32), Array([1.], dtype=float32))

    Reference:
        Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.

    Warning:
        The paper multiplies h by r before the product with U_n; here, as in PyTorch, cuDNN and Keras, r multiplies
        what comes after it. Some authors exchange z and 1 - z.
    """
    return run_cell(_GRU, params, carry, x)


@layer
def gru(
    params: Params, x: Array, *, carry: Array | None = None, mask: Array | None = None, reverse: bool = False
) -> tuple[Array, Array]:
    """Run `gru_cell` over a sequence: $h_t = (1 - z_t) n_t + z_t h_(t-1)$.

    Args:
        params: `input_kernel` `[in_features, 3 * hidden]`, `hidden_kernel` `[hidden, 3 * hidden]` and maybe `bias`
            `[3 * hidden]` and `hidden_bias` `[hidden]`, columns in the order r, z, n.
        x: `[..., time, in_features]`, floating point. Its dtype is the result's; parameters are cast to it.
        carry: the hidden state before the first step, `[..., hidden]`; None for zeros, float32 at least.
        mask: boolean `[..., time]`, True at real steps; None if all are. Other steps leave the hidden state as it is,
            have zeros as result, and may hold anything in `x`.
        reverse: whether to run from the last step to the first. The results stay in the places of their inputs.

    Returns:
        `(y, carry)`: the hidden states `[..., time, hidden]`, and the last one `[..., hidden]`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point, or the mask not boolean.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init(nn.gru_spec(3, 4), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (2, 6, 3))
        >>> y, carry = nn.gru(params, x)
        >>> y.shape, bool(jnp.all(carry == y[:, -1]))
        ((2, 6, 4), True)

    Reference:
        Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014.

    Warning:
        See `gru_cell` for which form it is. PyTorch's weights are the transposes of the kernels here, and it has a
        second bias for every gate; `jaxnets.weights` converts them.
    """
    return run_sequence(_GRU, params, x, carry, mask, reverse)
