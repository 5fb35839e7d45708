"""The block of Transformers: attention and a perceptron of two layers, each with norm before and a shortcut around."""

from __future__ import annotations

from collections.abc import Callable

import jax

from jaxnets.layer import layer
from jaxnets.nn.attention import attention, attention_spec
from jaxnets.nn.dropout import dropout
from jaxnets.nn.linear import linear, linear_spec
from jaxnets.nn.normalization import layer_norm, layer_norm_spec
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Key, Params


def transformer_block_spec(
    features: int,
    *,
    heads: int,
    kv_heads: int | None = None,
    hidden: int | None = None,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    out_init: Initializer | None = None,
) -> Spec:
    """Describe the parameters of `transformer_block`.

    Args:
        features: size of the last axis of input and result.
        heads: of attention, a divisor of `features`.
        kv_heads: heads of keys and values; None for `heads`.
        hidden: size of the hidden layer; None for four times `features`.
        bias: whether norms, attention and linear layers have biases.
        kernel_init: initializes the kernels.
        out_init: initializes those two kernels whose results are added to the shortcut; None for `kernel_init`.

    Returns:
        A spec with `norm1`, `attention`, `norm2`, `linear1` and `linear2`.

    Raises:
        ValueError: if heads do not divide `features`, or `kv_heads` do not divide `heads`.

    Example:
        >>> sorted(transformer_block_spec(32, heads=4))
        ['attention', 'linear1', 'linear2', 'norm1', 'norm2']
    """
    hidden = 4 * features if hidden is None else hidden
    out_init = kernel_init if out_init is None else out_init
    attends = attention_spec(features, heads=heads, kv_heads=kv_heads, bias=bias, kernel_init=kernel_init)
    out = attention_spec(features, heads=heads, bias=bias, kernel_init=out_init)["out"]
    return {
        "norm1": layer_norm_spec(features, bias=bias),
        "attention": attends | {"out": out},
        "norm2": layer_norm_spec(features, bias=bias),
        "linear1": linear_spec(features, hidden, bias=bias, kernel_init=kernel_init),
        "linear2": linear_spec(hidden, features, bias=bias, kernel_init=out_init),
    }


@layer
def transformer_block(
    params: Params,
    x: Array,
    *,
    causal: bool = False,
    mask: Array | None = None,
    rotary: Callable[[Array, Array], Array] | None = None,
    activation: Callable[[Array], Array] = jax.nn.gelu,
    epsilon: float = 1e-5,
    dropout_rate: float | Array = 0.0,
    attention_dropout_rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool,
) -> Array:
    """Add attention, then a perceptron: y = x + attention(norm1(x)); z = y + W_2 f(W_1 norm2(y)).

    Args:
        params: `norm1`, `attention`, `norm2`, `linear1` and `linear2`.
        x: `[..., time, features]`, floating point.
        causal: whether position i attends to the positions up to i only.
        mask: as in `attention`, True where a query may attend to a key.
        rotary: as in `attention`.
        activation: f.
        epsilon: of the norms.
        dropout_rate: the probability to drop an entry of what is added to each shortcut, in training.
        attention_dropout_rate: the probability to drop an attention weight in training.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[..., time, features]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` or the mask does not fit, or a key is missing.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(transformer_block_spec(8, heads=2), jax.random.key(0))
        >>> transformer_block(params, jnp.ones((1, 5, 8)), causal=True, train=False).shape
        (1, 5, 8)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017; with norms first: Radford et al., Language Models are
        Unsupervised Multitask Learners, 2019, and Xiong et al., On Layer Normalization in the Transformer Architecture,
        2020.

    Warning:
        The first paper, and PyTorch's `TransformerEncoderLayer` by default, put norms behind the sums. PyTorch's also
        drops hidden entries. GPT-2 computes GELU by tanh, as `jax.nn.gelu` does; for PyTorch's exact one pass
        `functools.partial(jax.nn.gelu, approximate=False)`.
    """
    attended = attention(
        params["attention"],
        layer_norm(params["norm1"], x, epsilon=epsilon),
        causal=causal,
        mask=mask,
        rotary=rotary,
        rate=attention_dropout_rate,
        key=subkey(key, "attention"),
        train=train,
    )
    x = x + dropout(attended, dropout_rate, key=subkey(key, "attended"), train=train)
    hidden = activation(linear(params["linear1"], layer_norm(params["norm2"], x, epsilon=epsilon)))
    return x + dropout(linear(params["linear2"], hidden), dropout_rate, key=subkey(key, "hidden"), train=train)
