"""Regularizers: penalties to add to a loss, the mask of the parameters that an optimizer decays, and a bound on norms.

Weight decay in the loss adds `factor * weight_decay(params)`. Decoupled weight decay belongs to the optimizer:
`optax.adamw(rate, weight_decay=0.01, mask=decay_mask)`, or `optax.add_decayed_weights` in a chain. They differ for
every optimizer that rescales gradients, such as Adam (Loshchilov and Hutter, 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.labels import absolute, class_logits, largest_size
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, ArrayLike, Params, PyTree

__all__ = ["confidence_penalty", "decay_mask", "entropy", "l1_penalty", "max_norm", "weight_decay"]

_UNDECAYED = ("bias", "scale", "slope", "class_token", "positions", "magnitude")


def decay_mask(params: Params) -> PyTree:
    """Select the parameters to decay: all except biases, scales of norms, learned slopes, class tokens and positions.

    A parameter is not decayed if its name is or ends in `bias` (`hidden_bias`), `scale`, `slope`, `class_token`,
    `positions` or `magnitude`, or if it is not floating point. GPT's positions are an `embedding`, which is
    decayed. Shapes do not matter, so stacked parameters of repeated blocks get the mask of one block.

    Args:
        params: a tree of parameters.

    Returns:
        The same tree with a bool for each parameter; optax's `mask=` also accepts this function itself.

    Example:
        >>> decay_mask({"fc": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "bn": {"scale": jnp.ones(3)}})
        {'bn': {'scale': False}, 'fc': {'bias': False, 'kernel': True}}

    Warning:
        PyTorch's optimizers decay every parameter unless given parameter groups.
    """

    def decays(path: tuple[Any, ...], leaf: Any) -> bool:
        names = [name for name in (getattr(k, "key", getattr(k, "name", None)) for k in path) if isinstance(name, str)]
        is_floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return bool(is_floating and not (names and names[-1].endswith(_UNDECAYED)))

    return jax.tree_util.tree_map_with_path(decays, params)


def weight_decay(params: Params, *, mask: PyTree | Callable[[Params], PyTree] = decay_mask) -> Array:
    """Sum the squares of the weights, $|W|^2$, to be added to a loss: $L + factor |W|^2$.

    Args:
        params: a tree of parameters.
        mask: the parameters to include: a bool for each, or a function of `params` that returns them.

    Returns:
        A scalar, at least float32.

    Example:
        >>> weight_decay({"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([5.0])})
        Array(5., dtype=float32)

    Warning:
        There is no factor 1/2 here, so the gradient is 2 * factor * W: PyTorch's `SGD(weight_decay=c)` is factor
        c / 2. With Adam, use `optax.adamw(mask=decay_mask)` unless you want the coupled form.

    Reference:
        Krogh and Hertz, A simple weight decay can improve generalization, 1991.
    """
    return _sum_masked("weight_decay", jnp.square, params, mask)


def l1_penalty(params: Params, *, mask: PyTree | Callable[[Params], PyTree] = decay_mask) -> Array:
    """Sum the absolute values of the weights, to be added to a loss: $L + factor sum |w|$.

    Args:
        params: a tree of parameters.
        mask: the parameters to include: a bool for each, or a function of `params` that returns them.

    Returns:
        A scalar, at least float32. The gradient at a weight of 0 is 0.

    Example:
        >>> l1_penalty({"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])})
        Array(3., dtype=float32)

    Reference:
        Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """
    return _sum_masked("l1_penalty", absolute, params, mask)


def max_norm(limit: float, *, axis: int | tuple[int, ...] = 0) -> optax.GradientTransformation:
    """Keep norms at a limit or below, as the last part of an optimizer: $w <- w min(1, limit / |w|)$ after its update.

    With `axis=0`, w are the columns of a kernel `[in_features, out_features]`, the weights into each unit.

    Args:
        limit: the largest norm, positive.
        axis: over which axes of each parameter the norm is taken.

    Returns:
        A transformation for the end of `optax.chain`; `optax.masked` restricts it to some parameters.

    Raises:
        ValueError: if the limit is not positive; in the update, if a parameter lacks an axis.

    Example:
        >>> optimizer = optax.chain(optax.sgd(1.0), max_norm(5.0))
        >>> params, gradient = jnp.array([[0.0, 1.0], [0.0, 1.0]]), jnp.array([[-6.0, 0.0], [-8.0, 0.0]])
        >>> updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        >>> optax.apply_updates(params, updates)
        Array([[3., 1.],
               [4., 1.]], dtype=float32)

    Reference:
        Hinton et al., Improving neural networks by preventing co-adaptation of feature detectors, 2012; Srivastava et
        al., Dropout: a simple way to prevent neural networks from overfitting, 2014.
    """
    if not limit > 0:
        raise ValueError(f"max_norm: the limit must be positive, got {limit}")

    axes = axis if isinstance(axis, tuple) else (axis,)

    def project(path: tuple[Any, ...], update: Array, param: Array) -> Array:
        if not all(-param.ndim <= each < param.ndim for each in axes):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(
                f"max_norm: axis {axis} is not an axis of {name!r} {list(param.shape)}; leave it out by optax.masked"
            )
        wide = compute_dtype(param)
        after = param.astype(wide) + update.astype(wide)
        scale = largest_size(after, axes)
        norm = jnp.sqrt(jnp.sum(jnp.square(after / scale), axis=axes, keepdims=True))
        bound = jnp.asarray(limit, wide) / scale
        bounded = after * (bound / jnp.maximum(norm, bound)) - param.astype(wide)
        return jnp.where(norm > bound, bounded.astype(update.dtype), update)

    def update(updates: PyTree, state: optax.OptState, params: Params | None = None) -> tuple[PyTree, optax.OptState]:
        if params is None:
            raise ValueError("max_norm needs the parameters: optimizer.update(gradients, opt_state, params)")
        return jax.tree_util.tree_map_with_path(project, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _sum_masked(function: str, term: Callable[[Array], Array], params: Params, mask: Any) -> Array:
    chosen = mask(params) if callable(mask) else mask
    structure: Any = jax.tree.structure(params)
    if jax.tree.structure(chosen) != structure:
        raise ValueError(
            f"{function}: the mask must be a bool for each parameter, as decay_mask(params) returns; "
            f"params are {structure}, the mask is {jax.tree.structure(chosen)}"
        )
    leaves = [
        jnp.asarray(leaf)
        for leaf, counts in zip(jax.tree.leaves(params), jax.tree.leaves(chosen), strict=True)
        if counts
    ]
    dtype = jnp.float64 if any(leaf.dtype == jnp.float64 for leaf in leaves) else jnp.float32
    return sum((jnp.sum(term(leaf.astype(dtype))) for leaf in leaves), start=jnp.zeros((), dtype))


def entropy(logits: ArrayLike) -> Array:
    """Entropy of the predicted distribution: $H(p) = -sum_k p_k log p_k$ with $p = softmax(logits)$, in nats.

    Args:
        logits: `[..., classes]`, floating point.

    Returns:
        `[...]`, one number per example, between 0 and log(classes); float32 for bfloat16 logits.

    Raises:
        ValueError: if there is only one class.
        TypeError: if the logits are not floating point.

    Example:
        >>> entropy(jnp.array([[0.0, 0.0], [200.0, 0.0]]))
        Array([0.6931472, 0.       ], dtype=float32)
    """
    log_probabilities = jax.nn.log_softmax(class_logits("entropy", logits))
    probabilities = jnp.exp(log_probabilities)
    # 0 log 0 = 0, also in the gradient.
    return jnp.sum(probabilities * -jnp.where(probabilities == 0, 0, log_probabilities), axis=-1)


def confidence_penalty(logits: ArrayLike) -> Array:
    """Penalty on confident predictions: $sum_k p_k log p_k = -H(p)$ with $p = softmax(logits)$.

    Added to a loss with a positive factor, L + factor * confidence_penalty = L - factor * H(p), it keeps predictions
    from becoming too confident.

    Args:
        logits: `[..., classes]`, floating point.

    Returns:
        `[...]`, one number per example, between -log(classes) and 0; float32 for bfloat16 logits.

    Raises:
        ValueError: if there is only one class.
        TypeError: if the logits are not floating point.

    Example:
        >>> confidence_penalty(jnp.array([0.0, 0.0]))
        Array(-0.6931472, dtype=float32)

    Warning:
        The sign matters. L - factor * sum_k p_k log p_k, as some course material has it, is L + factor * H(p) and makes
        predictions more confident; the literature's penalty, as here, is L - factor * H(p).

    Reference:
        Pereyra et al., Regularizing neural networks by penalizing confident output distributions, 2017.
    """
    return -entropy(logits)
