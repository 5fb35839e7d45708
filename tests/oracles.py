"""Comparison of trees, and the settings under which code that is not ours runs."""

from __future__ import annotations

import contextlib

import jax
import numpy as np
import optax


def quick_jit(function, **settings):
    """`jax.jit` with LLVM's optimizations off, which compiles in about half the time; what XLA makes of it is the same.

    For programs that are compared within a tolerance, not for those whose bits must be equal.
    """
    quick = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=quick, **settings)


def assert_close(actual, expected, rtol=1e-5, atol=1e-5, what="value"):
    """Compare two trees leaf by leaf; `expected` may hold torch tensors."""
    actual_leaves = jax.tree_util.tree_leaves_with_path(actual)
    expected_leaves = jax.tree.leaves(expected)
    assert len(actual_leaves) == len(expected_leaves)
    for (path, a), e in zip(actual_leaves, expected_leaves, strict=True):
        e = e.detach().numpy() if hasattr(e, "detach") else np.asarray(e)
        np.testing.assert_allclose(
            np.asarray(a), e, rtol=rtol, atol=atol, err_msg=f"{what} {jax.tree_util.keystr(path)}"
        )


@contextlib.contextmanager
def permissive_promotion():
    """Run code that is not ours (flax, optax) under JAX's default promotion rules."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def permissive_optimizer(optimizer):
    """An optax optimizer that runs under JAX's default promotion rules, which optax relies on."""

    def update(gradients, state, params=None, **extra):
        with permissive_promotion():
            return optax.with_extra_args_support(optimizer).update(gradients, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def normal(*shape, seed=0, dtype=np.float32):
    """Fixed standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
