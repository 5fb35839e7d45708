"""Low-rank adapters: a few parameters that are trained in place of large kernels, for any network."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.integers import as_integer
from jaxnets.layer import names_errors
from jaxnets.nn.check import compute_dtype
from jaxnets.path_mask import path_mask
from jaxnets.spec import ArraySpec, Spec
from jaxnets.tree import paths
from jaxnets.types import Array, Params

__all__ = ["lora_merge", "lora_spec", "lora_unmerge"]

_STACKED = "layers"
"""The logical axis of repeated blocks, each of which gets adapters of its own."""


@names_errors
def lora_spec(spec: Spec, *patterns: str, rank: int) -> Spec:
    """Describe adapters of the arrays whose paths match: $W + alpha / rank A B$, with A of `rank` columns.

    An array counts as a matrix of its inputs and outputs. At first B is 0, so that nothing changes.

    Args:
        spec: of a network.
        patterns: paths as `jaxnets.tree.paths` writes them, or the beginning of paths up to a slash; `*` stands for any
            characters: `"blocks/attention/query"`, `"*/kernel"`. Each has to match; biases and what has fewer than
            two axes get no adapter.
        rank: of A B, at most the smaller side of each matrix.

    Returns:
        A spec of dicts, with `down` A `[inputs, rank]` and `up` B `[rank, outputs]` at each path, and the axis of
        repeated blocks before both.

    Raises:
        ValueError: if there is no pattern, one matches nothing or nothing of two axes, or the rank does not fit.

    Example:
        >>> from jaxnets import models, tree
        >>> model = models.gpt(models.GPTConfig(5, 4, layers=2, heads=2, features=8))
        >>> adapters = lora_spec(model.spec, "blocks/attention/query", rank=2)
        >>> {path: leaf.shape for path, leaf in tree.paths(adapters).items()}
        {'blocks/attention/query/kernel/down': (2, 8, 2), 'blocks/attention/query/kernel/up': (2, 2, 8)}

    Reference:
        Hu et al., LoRA: low-rank adaptation of large language models, 2022.
    """
    if not patterns:
        raise ValueError("name at least one pattern of paths, such as lora_spec(spec, '*/kernel', rank=8)")
    rank = as_integer("lora_spec", "rank", rank, at_least=1)
    chosen = paths(path_mask(spec, *patterns, function="lora_spec"))
    adapters: dict[str, Any] = {}
    for path, leaf in paths(spec).items():
        *above, name = path.split("/")
        matrix = name != "bias" and not leaf.is_state and len(leaf.shape) - (_STACKED in leaf.axes) >= 2
        if chosen[path] and matrix:
            node = adapters
            for part in above:
                node = node.setdefault(part, {})
            node[name] = _adapter(path, leaf, rank)
    if not adapters:
        raise ValueError(f"{', '.join(map(repr, patterns))} match only biases and arrays of fewer than two axes")
    return adapters


@names_errors
def lora_merge(params: Params, adapters: Params, *, alpha: float | None = None) -> Params:
    """Add adapters to parameters: $W + alpha / rank A B$.

    In training the parameters are constants of the loss, `model.apply(lora_merge(params, adapters), ...)`, and the
    train state that of `make_model(lora_spec(...), apply)`. For use, merge once.

    Args:
        params: of the network.
        adapters: as `init(lora_spec(...), key)` makes them.
        alpha: the factor, in units of the rank; None for the rank, so that A B is added as it is.

    Returns:
        Parameters like `params`, in their dtypes.

    Raises:
        ValueError: if adapters belong to no parameter, or do not fit it.

    Example:
        >>> from jaxnets import init, nn
        >>> params, _ = init({"fc": nn.linear_spec(4, 3)}, jax.random.key(0))
        >>> adapters, _ = init(lora_spec({"fc": nn.linear_spec(4, 3)}, "fc", rank=2), jax.random.key(1))
        >>> merged = lora_merge(params, adapters, alpha=16)
        >>> bool(jnp.all(merged["fc"]["kernel"] == params["fc"]["kernel"]))  # B is 0 at first
        True

    Reference:
        Hu et al., 2022, as in `lora_spec`.
    """
    return _added(params, adapters, alpha, 1)


@names_errors
def lora_unmerge(params: Params, adapters: Params, *, alpha: float | None = None) -> Params:
    """Take merged adapters out again: $W - alpha / rank A B$.

    Args:
        params: of the network, with the adapters merged.
        adapters: as in `lora_merge`.
        alpha: as in `lora_merge`.

    Returns:
        Parameters like `params`, up to rounding those from before.

    Raises:
        ValueError: if adapters belong to no parameter, or do not fit it.

    Example:
        >>> adapter = {"fc": {"kernel": {"down": jnp.ones((3, 1)), "up": jnp.ones((1, 2))}}}
        >>> lora_unmerge({"fc": {"kernel": jnp.ones((3, 2))}}, adapter)["fc"]["kernel"].sum()
        Array(0., dtype=float32)
    """
    return _added(params, adapters, alpha, -1)


def _adapter(path: str, leaf: ArraySpec, rank: int) -> dict[str, ArraySpec]:
    stacked = int(_STACKED in leaf.axes)
    names, shape = leaf.axes or (None,) * len(leaf.shape), leaf.shape
    one_input = leaf.torch_layout == "to_heads" or names[stacked] == "in"
    split = stacked + 1 if one_input else len(shape) - 1
    inputs, outputs = math.prod(shape[stacked:split]), math.prod(shape[split:])
    if rank > min(inputs, outputs):
        raise ValueError(
            f"rank {rank} is more than the smaller side of {path!r}, a matrix {inputs} x {outputs}; take a smaller "
            "rank, or patterns that leave it out"
        )
    front = names[:stacked]
    down, up = (
        dataclasses.replace(
            leaf,
            shape=(*shape[:stacked], *sides),
            axes=(*front, *axes),
            initializer=initializer,
            torch_initializer=None,
            torch_layout=None,
        )
        for sides, axes, initializer in (
            ((inputs, rank), ("in", None), jax.nn.initializers.normal(inputs**-0.5)),
            ((rank, outputs), (None, "out"), jax.nn.initializers.zeros),
        )
    )
    return {"down": down, "up": up}


def _added(params: Params, adapters: Params, alpha: float | None, sign: int) -> Params:
    found = paths(adapters)
    rest = {path.rpartition("/")[0] for path in found}
    known = paths(params)
    for path in sorted(rest):
        if missing := {f"{path}/down", f"{path}/up"} - set(found):
            raise ValueError(f"an adapter has 'down' and 'up', and {', '.join(sorted(missing))} is missing")
    if unknown := sorted(rest - set(known)):
        raise ValueError(f"adapters of {', '.join(unknown)} belong to no parameter; there are {', '.join(known)}")

    def add(path: str, leaf: Array) -> Array:
        if path not in rest:
            return leaf
        down, up = found[f"{path}/down"], found[f"{path}/up"]
        _check_fit(path, leaf, down, up)
        rank = down.shape[-1]
        wide = compute_dtype(leaf)
        product = jnp.matmul(down.astype(wide), up.astype(wide)) * (sign * (1.0 if alpha is None else alpha / rank))
        return (leaf.astype(wide) + product.reshape(leaf.shape)).astype(leaf.dtype)

    leaves = [add(path, leaf) for path, leaf in known.items()]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def _check_fit(path: str, leaf: Array, down: Array, up: Array) -> None:
    """Raise ValueError unless the adapter's matrices `[..., inputs, rank]` and `[..., rank, outputs]` make the leaf.

    The leaf is `[..., *inputs, *outputs]`, with one axis or more of each.
    """
    if not down.ndim == up.ndim >= 2 or (*down.shape[:-2], down.shape[-1]) != up.shape[:-1]:
        raise ValueError(
            f"the adapter of {path!r} must have down [..., inputs, rank] and up [..., rank, outputs], got "
            f"{list(down.shape)} and {list(up.shape)}"
        )
    *stacked, inputs, _ = down.shape
    rest = leaf.shape[len(stacked) :]
    splits = [(math.prod(rest[:split]), math.prod(rest[split:])) for split in range(1, len(rest))]
    if list(leaf.shape[: len(stacked)]) != stacked or (inputs, up.shape[-1]) not in splits:
        made = [*down.shape[:-1], up.shape[-1]]
        raise ValueError(f"the adapter of {path!r} makes {made}, which is not {list(leaf.shape)}")
