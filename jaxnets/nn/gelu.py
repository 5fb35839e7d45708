"""The Gaussian error linear unit, exact and in its two approximations."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxnets.backend import fast_path
from jaxnets.layer import names_errors
from jaxnets.nn.check import check_floating
from jaxnets.types import Array


def gelu(x: Array, approximate: bool = True) -> Array:
    """Compute $x Phi(x) = x/2 (1 + erf(x/sqrt(2)))$, or approximate it.

    The approximation is $x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))$. Both are `jax.nn.gelu`, except for the exact
    one in float32 on CPU, which is computed by erf: that takes half of the time of `jax.nn.gelu`'s erfc. float16, in
    which $x^2$ overflows beyond 256 and the gradient would be NaN, is computed in float32.

    Args:
        x: `[...]`.
        approximate: whether to take the approximation.

    Returns:
        `[...]`, in the dtype of `x`.

    Example:
        >>> gelu(jnp.array([-100.0, 0.0, 100.0]), approximate=False)
        Array([ -0.,   0., 100.], dtype=float32)

    Reference:
        Hendrycks and Gimpel, Gaussian Error Linear Units (GELUs), 2016.

    Warning:
        PyTorch's `gelu` is exact, that of JAX and GPT-2 the approximation. Computed by erf, as in PyTorch too, the
        absolute error of negative x is up to 8e-7 (1e-6 in PyTorch); by erfc small results have correct digits too.
    """
    if jnp.result_type(x) == jnp.float16:
        return gelu(jnp.asarray(x, jnp.float32), approximate).astype(jnp.float16)
    if approximate or jnp.result_type(x) != jnp.float32 or not fast_path("gelu", "cpu"):
        return jax.nn.gelu(x, approximate=approximate)
    x = jnp.asarray(x)
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


@names_errors
def quick_gelu(x: Array) -> Array:
    """Compute $x sigmoid(1.702 x)$, the coarser of the two approximations of GELU, which CLIP has.

    Example:
        >>> import jax.numpy as jnp
        >>> quick_gelu(jnp.array([-100.0, 0.0, 100.0]))
        Array([ -0.,   0., 100.], dtype=float32)

    Reference:
        Hendrycks and Gimpel, Gaussian Error Linear Units (GELUs), 2016.
    """
    check_floating(x)
    return x * jax.nn.sigmoid(1.702 * x)
