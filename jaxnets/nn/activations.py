"""Activation functions: those of `jax.nn`, and others that it lacks.

==================== ========================================================================== ===================
name                 formula                                                                    derivative at kinks
==================== ========================================================================== ===================
`identity`           $x$                                                                        1
`sign`               -1, 0, 1 for $x < 0$, $x = 0$, $x > 0$                                     0 everywhere
`heaviside`          0, 1/2, 1 for $x < 0$, $x = 0$, $x > 0$                                    0 everywhere
`piecewise_linear`   0 for $x <= -1/2$, $x + 1/2$ between, 1 for $x >= 1/2$                     0
`sigmoid`            $1 / (1 + e^-x)$
`log_sigmoid`        $log(sigmoid(x))$
`tanh`               $(e^x - e^-x) / (e^x + e^-x)$
`relu`               $max(0, x)$                                                                0
`relu6`              $min(max(0, x), 6)$                                                        0
`softplus`           $log(1 + e^(beta x)) / beta$, $beta = 1$
`leaky_relu`         $x$ for $x >= 0$, $slope x$ for $x < 0$, slope `negative_slope` = 0.01     1
`prelu`              $x$ for $x > 0$, $slope x$ for $x <= 0$, slope learned                     slope
`rrelu`              as `prelu`, slope drawn from $U(1/8, 1/3)$, 11/48 in evaluation            slope
`elu`                $x$ for $x > 0$, $alpha (e^x - 1)$ for $x <= 0$, $alpha = 1$               $alpha$
`celu`               $max(0, x) + min(0, alpha (e^(x/alpha) - 1))$, $alpha = 1$                 1
`selu`               $1.0507 (max(0, x) + min(0, 1.6733 (e^x - 1)))$                            1.0507 * 1.6733
`gelu`               $x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))$
exact `gelu`         $x Phi(x) = x/2 (1 + erf(x/sqrt(2)))$, with `approximate=False`
`quick_gelu`         $x sigmoid(1.702 x)$, CLIP's approximation of `gelu`
`silu`, `swish`      $x / (1 + e^-x)$
`hard_swish`         0 for $x <= -3$, $x (x + 3) / 6$ between, $x$ for $x >= 3$                 0, 1
`hard_sigmoid`       0 for $x <= -3$, $x/6 + 1/2$ between, 1 for $x >= 3$                       0
`hard_tanh`          $x$ clipped to [minimum, maximum] = [-1, 1]                                0
`soft_sign`          $x / (1 + |x|)$
`tanh_shrink`        $x - tanh(x)$
`soft_shrink`        $x - t$ for $x > t$, $x + t$ for $x < -t$, else 0, threshold $t = 0.5$     0
`hard_shrink`        $x$ where $|x| > t$, else 0, threshold $t = 0.5$                           0
`mish`               $x tanh(log(1 + e^x))$
`maxout`             $max_p (x W_p + b_p)$ over pieces p, W and b learned
`softmax`            $e^x_i / sum_j e^x_j$ over the last axis
`log_softmax`        $log(softmax(x))$
==================== ========================================================================== ===================

All map `[...]` to `[...]`, entry by entry (except `maxout` and the softmaxes), and keep floating-point dtypes.

Warning:
    Defaults that differ elsewhere: PyTorch's `gelu` is exact, `gelu(x, approximate=False)` here. Introductions often
    give `leaky_relu` the slope 0.1. PyTorch's `softplus` is exactly linear where beta x > 20, and its `softmax`
    requires the axis; its `hardswish` and `hardsigmoid` are the same as here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.nn import (
    celu,
    elu,
    hard_sigmoid,
    hard_swish,
    identity,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    swish,
    tanh,
)
from jax.numpy import sign

from jaxnets.layer import layer, names_errors
from jaxnets.nn.check import (
    add_parameter,
    broadcast_parameter,
    check_features,
    check_floating,
    flatten_leading,
    match_dtype,
    require_key,
)
from jaxnets.nn.gelu import gelu, quick_gelu
from jaxnets.nn.initializers import InLayout, torch_uniform
from jaxnets.nn.softmax import log_softmax, softmax
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, ArrayLike, Initializer, Key, Params

__all__ = [
    "celu",
    "elu",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "heaviside",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "maxout",
    "maxout_spec",
    "mish",
    "piecewise_linear",
    "prelu",
    "prelu_spec",
    "quick_gelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "soft_shrink",
    "soft_sign",
    "softmax",
    "softplus",
    "swish",
    "tanh",
    "tanh_shrink",
]


@names_errors
def heaviside(x: Array) -> Array:
    """Compute the unit step: 0 for $x < 0$, $1/2$ at 0, 1 for $x > 0$. Its derivative is 0 everywhere.

    Example:
        >>> import jax.numpy as jnp
        >>> heaviside(jnp.array([-2.0, 0.0, 2.0]))
        Array([0. , 0.5, 1. ], dtype=float32)
    """
    check_floating(x)
    # that of jax 0.7 makes 1/2 of NaN
    return jnp.where(jnp.isnan(x), jnp.nan, jnp.heaviside(x, 0.5))


@names_errors
def piecewise_linear(x: Array) -> Array:
    """Compute 0 for $x <= -1/2$, $x + 1/2$ between and 1 for $x >= 1/2$.

    Example:
        >>> import jax.numpy as jnp
        >>> piecewise_linear(jnp.array([-2.0, 0.25, 2.0]))
        Array([0.  , 0.75, 1.  ], dtype=float32)
    """
    check_floating(x)
    return jnp.where(x <= -0.5, 0, jnp.where(x >= 0.5, 1, x + 0.5))


@names_errors
def softplus(x: Array, beta: ArrayLike = 1.0) -> Array:
    """Compute $log(1 + e^(beta x)) / beta$, a smooth ReLU, closer to it for larger `beta`.

    Example:
        >>> import jax.numpy as jnp
        >>> softplus(jnp.array([-100.0, 0.0, 100.0]), beta=2.0)
        Array([  0.       ,   0.3465736, 100.       ], dtype=float32)
    """
    check_floating(x)
    beta = jnp.asarray(beta, jnp.result_type(x))
    return jax.nn.softplus(beta * x) / beta


@names_errors
def hard_tanh(x: Array, minimum: float = -1.0, maximum: float = 1.0) -> Array:
    """Clip x to [minimum, maximum]; unlike `jnp.clip`, with derivative 0 at both ends, as in PyTorch.

    Raises:
        ValueError: if `minimum` is not less than `maximum`.

    Example:
        >>> import jax.numpy as jnp
        >>> hard_tanh(jnp.array([-2.0, 0.25, 2.0]))
        Array([-1.  ,  0.25,  1.  ], dtype=float32)
    """
    check_floating(x)
    if not minimum < maximum:
        raise ValueError(f"minimum must be less than maximum, got {minimum} and {maximum}")
    return jnp.where(x <= minimum, minimum, jnp.where(x >= maximum, maximum, x))


@names_errors
def tanh_shrink(x: Array) -> Array:
    """Compute $x - tanh(x)$.

    Example:
        >>> import jax.numpy as jnp
        >>> tanh_shrink(jnp.array([0.0, 100.0]))
        Array([ 0., 99.], dtype=float32)
    """
    check_floating(x)
    return x - jnp.tanh(x)


@names_errors
def soft_shrink(x: Array, threshold: ArrayLike = 0.5) -> Array:
    """Compute $x - t$ for $x > t$, $x + t$ for $x < -t$, else 0, with the threshold t.

    Example:
        >>> import jax.numpy as jnp
        >>> soft_shrink(jnp.array([-2.0, 0.25, 2.0]))
        Array([-1.5,  0. ,  1.5], dtype=float32)
    """
    check_floating(x)
    threshold = jnp.asarray(threshold, jnp.result_type(x))
    return jnp.where(jnp.abs(x) <= threshold, 0, x - jnp.sign(x) * threshold)  # NaN stays NaN


@names_errors
def hard_shrink(x: Array, threshold: ArrayLike = 0.5) -> Array:
    """Compute $x$ where $|x| > t$, else 0, with the threshold t.

    Example:
        >>> import jax.numpy as jnp
        >>> hard_shrink(jnp.array([-2.0, 0.25, 2.0]))
        Array([-2.,  0.,  2.], dtype=float32)
    """
    check_floating(x)
    return jnp.where(jnp.abs(x) <= jnp.asarray(threshold, jnp.result_type(x)), 0, x)  # NaN stays NaN


def prelu_spec(features: int | None = None, *, slope_init: Initializer = jax.nn.initializers.constant(0.25)) -> Spec:
    """Describe the parameter of `prelu`.

    Args:
        features: size of the input's last axis for one slope per feature; None for a single slope.
        slope_init: initializes the slope, `[]` or `[features]`; by default 0.25.

    Returns:
        A spec with `slope`.

    Example:
        >>> prelu_spec()["slope"].shape, prelu_spec(3)["slope"].shape
        ((), (3,))
    """
    if features is None:
        return {"slope": ArraySpec((), slope_init)}
    return {"slope": ArraySpec((features,), slope_init, axes=("features",))}


@layer
def prelu(params: Params, x: Array) -> Array:
    """Compute $x$ for $x > 0$ and $slope x$ for $x <= 0$, with a learned slope.

    Args:
        params: `slope` `[]` or `[features]`.
        x: `[..., features]` (with a single slope `[...]`), floating point.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: if the last axis of `x` does not fit `slope` `[features]`.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> prelu({"slope": jnp.array(0.5)}, jnp.array([-2.0, 2.0]))
        Array([-1.,  2.], dtype=float32)

    Reference:
        He, Zhang, Ren, Sun: Delving Deep into Rectifiers, 2015.

    Warning:
        PyTorch takes the features from axis 1 and keeps a single slope as `[1]`.
    """
    check_floating(x)
    slope = params["slope"]
    if slope.ndim > 0 and slope.shape != x.shape[-1:]:
        raise ValueError(f"last axis must fit slope {list(slope.shape)}, got x {list(x.shape)}")
    return jnp.where(x > 0, x, broadcast_parameter(slope, x.shape, x.dtype) * x)


@layer
def rrelu(x: Array, *, lower: float = 1 / 8, upper: float = 1 / 3, key: Key | None = None, train: bool) -> Array:
    """Compute $x$ for $x > 0$ and $slope x$ for $x <= 0$, with a random slope.

    In training each entry's slope is drawn from U(lower, upper); in evaluation all are (lower + upper) / 2.

    Args:
        x: `[...]`, floating point.
        lower: the smallest slope.
        upper: the largest slope.
        key: a typed PRNG key, needed in training.
        train: whether slopes are drawn.

    Returns:
        `[...]`, in the dtype of `x`.

    Raises:
        ValueError: without a key in training, or if `lower` is greater than `upper`.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> rrelu(jnp.array([-2.0, 2.0]), lower=0.25, upper=0.75, train=False)
        Array([-1.,  2.], dtype=float32)

    Reference:
        Xu, Wang, Chen, Li: Empirical Evaluation of Rectified Activations in Convolutional Network, 2015.
    """
    check_floating(x)
    if lower > upper:
        raise ValueError(f"lower must not be greater than upper, got {lower} and {upper}")
    if not train:
        return leaky_relu(x, (lower + upper) / 2)
    key = require_key(key, "drawing slopes in training")
    slope = jax.random.uniform(key, x.shape, jnp.float32, lower, upper)
    return jnp.where(x > 0, x, slope.astype(x.dtype) * x)


def maxout_spec(
    in_features: int,
    out_features: int,
    *,
    pieces: int = 2,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `maxout`.

    Args:
        in_features: size of the input's last axis.
        out_features: size of the result's last axis.
        pieces: the number of linear functions in each maximum.
        bias: whether there is a bias.
        kernel_init: initializes the kernel, as `[in_features, pieces * out_features]`; by default normal with variance
            1/in_features.
        bias_init: initializes the bias `[pieces, out_features]`; by default zeros.

    Returns:
        A spec with `kernel` and, if `bias`, `bias`.

    Example:
        >>> maxout_spec(8, 4, pieces=3)["kernel"].shape
        (8, 3, 4)
    """
    torch_init = torch_uniform(in_features)
    shape = (in_features, pieces, out_features)
    by_outputs = InLayout(kernel_init, (in_features, pieces * out_features), shape, (0, 1, 2))
    kernel = ArraySpec(shape, by_outputs, axes=("in", None, "out"), torch_initializer=torch_init)
    if not bias:
        return {"kernel": kernel}
    return {
        "kernel": kernel,
        "bias": ArraySpec((pieces, out_features), bias_init, axes=(None, "out"), torch_initializer=torch_init),
    }


@layer
def maxout(params: Params, x: Array) -> Array:
    """Compute the maximum of several linear functions: $y = max_p (x W_p + b_p)$.

    Args:
        params: `kernel` `[in_features, pieces, out_features]` and, if there is one, `bias` `[pieces, out_features]`.
        x: `[..., in_features]`, floating point.

    Returns:
        `[..., out_features]`, in the dtype of `x`.

    Raises:
        ValueError: if the last axis of `x` does not fit the kernel.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> absolute = {"kernel": jnp.array([[[1.0], [-1.0]]])}
        >>> maxout(absolute, jnp.array([[-3.0]]))
        Array([[3.]], dtype=float32)

    Reference:
        Goodfellow, Warde-Farley, Mirza, Courville, Bengio: Maxout Networks, 2013.
    """
    check_floating(x)
    check_features(x, params["kernel"].shape[0], params["kernel"])
    (kernel,) = match_dtype(x, params["kernel"])
    rows, leading = flatten_leading(x)
    in_features, pieces, out_features = kernel.shape
    linear = (rows @ kernel.reshape((in_features, pieces * out_features))).reshape((-1, pieces, out_features))
    if "bias" in params:
        linear = add_parameter(linear, params["bias"])
    return jnp.max(linear, axis=1).reshape((*leading, out_features))
