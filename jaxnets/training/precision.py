"""Computing in another dtype than that of the parameters."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxnets.model import Model
from jaxnets.types import DTypeLike, Key, Params, State

Tree = TypeVar("Tree")


def compute_in(dtype: DTypeLike, model: Model) -> Model:
    """Make a model compute in another dtype, such as bfloat16, with parameters and optimizer in their own.

    Parameters and inputs are cast on entering, outputs are cast to float32, in which the loss is then computed;
    gradients arrive in the parameters' dtype. Running statistics keep theirs. bfloat16 has the range of float32, so
    the loss needs no scaling; for float16 see `with_loss_scale`.

    Args:
        dtype: floating point, `jnp.bfloat16` as a rule.
        model: the network.

    Returns:
        A model with the same `init`.

    Raises:
        TypeError: if the dtype is not floating point.

    Example:
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> model = compute_in(jnp.bfloat16, make_model(nn.linear_spec(1, 1), apply))
        >>> params = {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
        >>> model.apply(params, {}, jnp.array([[1.001]]), train=False)[0]
        Array([[1.]], dtype=float32)

    Reference:
        Micikevicius et al., Mixed precision training, 2018; Kalamkar et al., A study of bfloat16, 2019.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"compute_in: dtype must be floating point, such as jnp.bfloat16, got {jnp.dtype(dtype)}")

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool) -> tuple[Any, State]:
        outputs, new_state = model.apply(_cast(params, dtype), state, _cast(inputs, dtype), key=key, train=train)
        return _cast(outputs, jnp.float32), new_state

    apply.compute_dtype = jnp.dtype(dtype)  # type: ignore[attr-defined]
    return model._replace(apply=apply)


def _cast(tree: Tree, dtype: DTypeLike) -> Tree:
    def cast(leaf: Any) -> Any:
        array = jnp.asarray(leaf)
        return array.astype(dtype) if jnp.issubdtype(array.dtype, jnp.floating) else array

    result: Tree = jax.tree.map(cast, tree)
    return result
