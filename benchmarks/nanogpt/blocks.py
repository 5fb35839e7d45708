"""The weights of a Transformer's blocks, as nested dicts."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peer import random_weights


def random_blocks(layers: int, features: int, heads: int, *, bias: bool) -> list[dict[str, Any]]:
    """Of each block norm1, attention, norm2, linear1, linear2; kernels of attention have an axis for heads."""
    shapes = block_shapes(features, heads, bias=bias)
    return [nested(random_weights(shapes, seed=layer + 1)) for layer in range(layers)]


def block_shapes(
    features: int, heads: int, *, bias: bool, hidden_size: int | None = None
) -> dict[str, tuple[int, ...]]:
    """The shapes of one block, by path, in the order of the computation; by default it is 4 times as wide within."""
    wide, split, hidden = (features,), (heads, features // heads), (hidden_size or 4 * features,)
    layers: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
        "norm1": ("scale", (), wide),
        "attention/query": ("kernel", wide, split),
        "attention/key": ("kernel", wide, split),
        "attention/value": ("kernel", wide, split),
        "attention/out": ("kernel", split, wide),
        "norm2": ("scale", (), wide),
        "linear1": ("kernel", wide, hidden),
        "linear2": ("kernel", hidden, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for path, (name, inputs, outputs) in layers.items():
        shapes |= {f"{path}/{name}": inputs + outputs} | ({f"{path}/bias": outputs} if bias else {})
    return shapes


def nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Nested dicts of arrays by path."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = array
    return tree


def numbered(weights: dict[str, Any]) -> dict[str, Any]:
    """The same with `blocks_0`, `blocks_1`, ... in place of the list."""
    blocks = {f"blocks_{i}": block for i, block in enumerate(weights["blocks"])}
    return {name: part for name, part in weights.items() if name != "blocks"} | blocks
