"""Self attention without its linear layers, from queries, keys and values with heads after time."""

from __future__ import annotations

import jax
import numpy as np
import torch

from benchmarks.sweep.case import Case, Operation, Range, Settings, draw_batch, draw_integer, ranges
from jaxnets import nn


def draw(row: tuple[bool, Range], positions: Range, generator: np.random.Generator) -> Settings:
    causal, within = row
    length, heads = draw_integer(positions, generator), draw_integer((1, 12), generator)
    head_dim = 8 * draw_integer((within[0] // 8, within[1] // 8), generator)
    batch = draw_batch(2 * length**2 * heads * head_dim, generator)
    return {"causal": causal, "batch": batch, "positions": length, "heads": heads, "head_dim": head_dim}


def make_case(*, causal: bool, batch: int, positions: int, heads: int, head_dim: int) -> Case:
    def ours(queries, keys, values):
        return nn.dot_product_attention(queries, keys, values, causal=causal)

    def plain(queries, keys, values):
        return jax.nn.dot_product_attention(queries, keys, values, is_causal=causal)

    def theirs(queries, keys, values):
        heads_first = [array.transpose(1, 2) for array in (queries, keys, values)]
        return torch.nn.functional.scaled_dot_product_attention(*heads_first, is_causal=causal).transpose(1, 2)

    shape = (batch, positions, heads, head_dim)
    return Case(
        shapes={"queries": shape, "keys": shape, "values": shape},
        programs={"jaxnets": ours, "jax": plain, "pytorch": theirs},
        torch_axes={},
    )


OPERATION = Operation(
    title="Attention: size of a head; positions",
    rows={
        f"{'causal, ' if causal else ''}heads of {label}": (causal, within)
        for causal in (False, True)
        for label, within in {"16-32": (16, 32), "40-64": (40, 64), "72-128": (72, 128)}.items()
    },
    columns=ranges(16, 32, 64, 128, 256, 512, 1024),
    draw=draw,
    case=make_case,
)
