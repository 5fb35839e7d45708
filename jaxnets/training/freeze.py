"""Parameters that stay as they are."""

from __future__ import annotations

import jax
import optax

from jaxnets.path_mask import path_mask
from jaxnets.types import Params, PyTree


def freeze(optimizer: optax.GradientTransformation, *patterns: str) -> optax.GradientTransformation:
    """Leave the parameters whose paths match a pattern as they are.

    The optimizer sees the other parameters only: it keeps no memory for the frozen ones, and clipping by the global
    norm inside it counts the trained ones alone. In a compiled step no gradient is computed that nothing needs. State,
    such as the running statistics of batch norm, goes on changing in training.

    Args:
        optimizer: an optax optimizer.
        patterns: paths as `jaxnets.tree.paths` writes them, or the beginning of paths up to a slash; `*` stands for
            any characters, `?` for one, `[ab]` for one of them. `"conv1"` freezes a whole layer, `"*/bias"` all biases.

    Returns:
        An optax optimizer.

    Raises:
        ValueError: if there is no pattern; by `init`, if a pattern matches no parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"body": {"kernel": jnp.ones(1)}, "head": {"kernel": jnp.ones(1)}}
        >>> optimizer = freeze(optax.sgd(0.5), "body")
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> updates["body"]["kernel"], updates["head"]["kernel"]
        (Array([0.], dtype=float32), Array([-0.5], dtype=float32))
    """
    return _frozen(optimizer, patterns, "freeze", listed=True)


def freeze_except(optimizer: optax.GradientTransformation, *patterns: str) -> optax.GradientTransformation:
    """Leave all parameters as they are but those whose paths match a pattern; otherwise as `freeze`.

    Args:
        optimizer: an optax optimizer.
        patterns: of the parameters to train, as in `freeze`.

    Returns:
        An optax optimizer.

    Raises:
        ValueError: if there is no pattern; by `init`, if a pattern matches no parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"body": {"kernel": jnp.ones(1)}, "head": {"kernel": jnp.ones(1)}}
        >>> optimizer = freeze_except(optax.sgd(0.5), "head")
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> updates["body"]["kernel"], updates["head"]["kernel"]
        (Array([0.], dtype=float32), Array([-0.5], dtype=float32))
    """
    return _frozen(optimizer, patterns, "freeze_except", listed=False)


def _frozen(
    optimizer: optax.GradientTransformation, patterns: tuple[str, ...], function: str, *, listed: bool
) -> optax.GradientTransformation:
    """The optimizer for what matches no pattern, if the frozen parameters are `listed`, or else for what does."""
    if not patterns:
        raise ValueError(
            f"{function}: name at least one pattern of paths, such as {function}(optimizer, 'conv1', '*/bias')"
        )

    def labels(params: Params) -> PyTree:
        mask = path_mask(params, *patterns, function=function)
        return jax.tree.map(lambda matches: "frozen" if matches == listed else "trained", mask)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)
