"""The linear (dense, fully connected) layer."""

from __future__ import annotations

import jax

from jaxnets.kernels.small_product import matrix_product
from jaxnets.layer import layer
from jaxnets.nn.check import add_parameter, check_features, check_floating, flatten_leading, match_dtype
from jaxnets.nn.initializers import torch_uniform
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, Initializer, Params


def linear_spec(
    in_features: int,
    out_features: int,
    *,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
    axes: tuple[str, str] = ("in", "out"),
) -> Spec:
    """Describe the parameters of `linear`.

    Args:
        in_features: size of the input's last axis.
        out_features: size of the result's last axis.
        bias: whether there is a bias.
        kernel_init: initializes the kernel `[in_features, out_features]`; by default normal, of variance 1/in_features.
        bias_init: initializes the bias `[out_features]`; by default zeros.
        axes: the logical axes of the kernel, from which shardings follow; see `jaxnets.sharding`.

    Returns:
        A spec with `kernel` and, if `bias`, `bias`.

    Example:
        >>> sorted(linear_spec(3, 2))
        ['bias', 'kernel']
    """
    torch_init = torch_uniform(in_features)
    shape = in_features, out_features
    kernel = ArraySpec(shape, kernel_init, axes=axes, torch_initializer=torch_init, torch_layout="matrix")
    if not bias:
        return {"kernel": kernel}
    return {
        "kernel": kernel,
        "bias": ArraySpec((out_features,), bias_init, axes=axes[1:], torch_initializer=torch_init),
    }


@layer
def linear(params: Params, x: Array) -> Array:
    """Multiply by the kernel and add the bias: $y = x W + b$.

    Args:
        params: `kernel` `[in_features, out_features]` and, if there is one, `bias` `[out_features]`.
        x: `[..., in_features]`, floating point. Its dtype is the result's; parameters are cast to it.

    Returns:
        `[..., out_features]`.

    Raises:
        ValueError: if the last axis of `x` does not fit the kernel.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> linear({"kernel": jnp.array([[1.0], [2.0]]), "bias": jnp.array([0.5])}, jnp.array([[3.0, 4.0]]))
        Array([[11.5]], dtype=float32)

    Warning:
        PyTorch's `Linear.weight` is the transpose of the kernel here.
    """
    check_floating(x)
    check_features(x, params["kernel"].shape[0], params["kernel"])
    (kernel,) = match_dtype(x, params["kernel"])
    rows, leading = flatten_leading(x)
    y = matrix_product(rows, kernel).reshape((*leading, kernel.shape[1]))
    return add_parameter(y, params["bias"]) if "bias" in params else y
