"""What the backward pass of a repeated block computes again instead of reading it from memory."""

from __future__ import annotations

import math
from typing import Any

from jaxnets.types import Array

_CHEAP = """
abs add add_any and broadcast_in_dim ceil clamp concatenate convert_element_type copy cos div eq erf erf_inv erfc exp
exp2 expand_dims expm1 floor ge gt integer_pow iota is_finite le log log1p logistic lt max min mul ne neg not or pad pow
reduce_precision rem reshape round rsqrt select_n sharding_constraint sign sin slice split sqrt square squeeze
stop_gradient sub tan tanh transpose xor
"""
_CHEAP_PRIMITIVES = frozenset(_CHEAP.split())


def keep_costly(primitive: Any, *inputs: Array, **settings: Any) -> bool:
    """Say whether to store what a primitive returns: a policy for `jax.checkpoint`.

    Results of elementwise operations are computed again, and so are batched products larger than their factors, such
    as the weights of attention; parameters that are divided over devices are gathered again. All else is stored: linear
    layers, convolutions, sums, pooling, loops, and whatever has a name (`jax.ad_checkpoint.checkpoint_name`). Writing
    to memory and reading takes longer than such operations.

    Args:
        primitive: a JAX primitive.
        *inputs: the shaped types of its inputs.
        **settings: the primitive's.

    Returns:
        Whether the result is stored for the backward pass.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> f = lambda kernel, x: jnp.sin(jnp.exp(x @ kernel))
        >>> kept = jax.checkpoint(f, policy=keep_costly)
        >>> stored = lambda f: len(jax.tree.leaves(jax.vjp(f, jnp.eye(2), jnp.ones((3, 2)))[1]))
        >>> stored(kept)  # both arguments and their product
        3

    Reference:
        Chen, Xu, Zhang, Guestrin: Training Deep Nets with Sublinear Memory Cost, 2016.
    """
    if primitive.name == "dot_general":
        left, right = inputs
        return not _outgrows_its_factors(left, right, settings["dimension_numbers"])
    return primitive.name not in _CHEAP_PRIMITIVES


def _outgrows_its_factors(left: Array, right: Array, dimension_numbers: Any) -> bool:
    """Whether a batched product has more numbers than both factors together; False for one without batch axes."""
    (contracted, _), (batched, _) = dimension_numbers
    inner = math.prod(left.shape[axis] for axis in contracted)
    batch = math.prod(left.shape[axis] for axis in batched)
    size = left.size * right.size // max(1, inner * inner * batch)
    return bool(batched) and size > left.size + right.size


def keep_all_but_gathered(primitive: Any, *inputs: Array, **settings: Any) -> bool:
    """Say that all results are stored but parameters gathered from devices: a policy for `jax.checkpoint`."""
    return bool(primitive.name != "sharding_constraint")
