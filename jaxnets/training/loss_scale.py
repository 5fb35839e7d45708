"""Loss scaling: training in float16, whose smallest numbers are larger than many gradients."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets.integers import as_integer
from jaxnets.types import Array, Params, PyTree


class LossScaleState(NamedTuple):
    """The optimizer state of `with_loss_scale`.

    Attributes:
        scale: the factor of the loss in the next step, float32.
        finite_steps: steps with finite gradients since the scale last changed, int32.
        inner: the state of the optimizer inside.
    """

    scale: Array
    finite_steps: Array
    inner: PyTree


def with_loss_scale(
    optimizer: optax.GradientTransformation, *, initial: float = 2.0**15, growth_steps: int = 2000
) -> optax.GradientTransformationExtraArgs:
    """Multiply the loss by a scale s before its gradient is taken, and divide the gradient by s.

    float16 has no numbers below 6e-8 in size, so smaller gradients would vanish; bfloat16 needs no scale. A step whose
    gradients overflow changes no parameters and halves s; after `growth_steps` finite steps s doubles. `make_step` and
    `alternate` find the scale in the optimizer's state, so it is saved and restored with the run.

    Args:
        optimizer: an optax optimizer; it sees gradients that were divided by s.
        initial: the first s.
        growth_steps: finite steps until s doubles.

    Returns:
        An optax optimizer.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> optimizer = with_loss_scale(optax.sgd(1.0), initial=4.0)
        >>> state = optimizer.init(jnp.array(1.0))
        >>> updates, state = optimizer.update(jnp.array(jnp.inf), state)
        >>> float(updates), float(state.scale)
        (0.0, 2.0)

    Warning:
        PyTorch's `GradScaler` begins with 2^16 and grows by the same rule; it divides gradients in `step`.

    Reference:
        Micikevicius et al., Mixed precision training, 2018.
    """
    growth_steps = as_integer("with_loss_scale", "growth_steps", growth_steps, at_least=1)
    if not initial >= 1:
        raise ValueError(f"with_loss_scale: initial must be at least 1, got {initial}")
    inner_optimizer = optax.with_extra_args_support(optimizer)

    def init(params: Params) -> LossScaleState:
        scale = jnp.asarray(initial, jnp.float32)
        return LossScaleState(scale, jnp.zeros((), jnp.int32), inner_optimizer.init(params))

    def update(
        updates: PyTree, state: LossScaleState, params: Params | None = None, **extra: Any
    ) -> tuple[PyTree, LossScaleState]:
        finite = jnp.all(jnp.stack([jnp.array(True), *(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(updates))]))
        # Where they are not finite the optimizer sees zeros, and what it makes of them is left out.
        safe = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), updates)
        updates, inner = inner_optimizer.update(safe, state.inner, params, **extra)
        updates = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), updates)
        inner = jax.tree.map(lambda new, old: jnp.where(finite, new, old), inner, state.inner)
        grows = finite & (state.finite_steps + 1 >= growth_steps)
        doubled = jnp.where(jnp.isfinite(2 * state.scale), 2 * state.scale, state.scale)  # it would stay infinite
        scale = jnp.where(finite, jnp.where(grows, doubled, state.scale), jnp.maximum(state.scale / 2, 1))
        steps = jnp.where(finite & ~grows, state.finite_steps + 1, 0)
        return updates, LossScaleState(scale, steps, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def loss_scale(function: str, loss: Any, opt_state: PyTree) -> Array | None:
    """Return the scale in an optimizer's state, None if there is none.

    Warns:
        UserWarning: if the loss computes in float16 without one.

    Example:
        >>> float(loss_scale("make_step", print, with_loss_scale(optax.sgd(0.1)).init({})))
        32768.0
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, LossScaleState))
    scale = next((node.scale for node in nodes if isinstance(node, LossScaleState)), None)
    if scale is None and getattr(loss, "compute_dtype", None) == jnp.float16:
        warnings.warn(
            f"{function}: float16 has no numbers below 6e-8, so small gradients vanish; write "
            "with_loss_scale(optimizer), or compute_in(jnp.bfloat16, model), which needs no scale",
            stacklevel=4,
        )
    return scale
