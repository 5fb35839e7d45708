"""What takes the memory of one device in a training step."""

from __future__ import annotations

import collections
import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.plan.chips import RESERVED, Chip
from jaxnets.training.state import TrainState


class Memory(NamedTuple):
    """Bytes of one device.

    Attributes:
        parameters: of the network.
        optimizer: what the optimizer keeps.
        other: the rest of what the step is given: batch, state of the model, counters, constants.
        padding: what whole tiles of the chip's memory take beyond the arrays that the step is given.
        data: the data set, which `fit` keeps whole on every device, but for the batch.
        temporaries: what the compiler needs besides: gradients, activations, buffers for communication, the program.
        activations: the part of the temporaries that the backward pass reads; at most that much, because the compiler
            may compute some again. None where it is not known.
        limit: of the chip.
    """

    parameters: int
    optimizer: int
    other: int
    padding: int
    data: int
    temporaries: int
    activations: int | None
    limit: int

    @property
    def used(self) -> int:
        """All of them."""
        return self.parameters + self.optimizer + self.other + self.padding + self.data + self.temporaries

    @property
    def fits(self) -> bool:
        """Whether the chip has it."""
        return self.used <= self.limit - RESERVED


def held(tree: Any) -> int:
    """Return the bytes of arrays, or of shapes with shardings, that one device holds."""

    def of(leaf: Any) -> int:
        sharding = getattr(leaf, "sharding", None)
        shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
        return int(math.prod(shape) * leaf.dtype.itemsize)

    return sum(map(of, jax.tree.leaves(tree)))


def memory_of(
    train_state: TrainState, other: Any, data_bytes: int, program: Any, activations: int | None, chip: Chip
) -> Memory:
    """Add up what a device holds, by what it is for.

    Args:
        train_state: shapes with shardings.
        other: shapes of all else that the step is given.
        data_bytes: of the data set.
        program: what was compiled, or the bytes of the temporaries for which it was refused.
        activations: of a device.
        chip: whose memory it is.
    """
    rest: Any = train_state._replace(params=None, opt_state=None)
    params, optimizer = held(train_state.params), held(train_state.opt_state)
    remaining = held((rest, other))
    if isinstance(program, int):
        return Memory(params, optimizer, remaining, 0, data_bytes, program, activations, chip.memory)
    stats = program.memory_analysis()
    padding = max(0, stats.argument_size_in_bytes - params - optimizer - remaining)
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporaries = stats.temp_size_in_bytes + results + stats.generated_code_size_in_bytes
    return Memory(params, optimizer, remaining, padding, data_bytes, temporaries, activations, chip.memory)


def refused_temporaries(error: Exception) -> int | None:
    """Return the bytes that a program needs which the compiler refused for its size, or None for another error.

    Example:
        >>> refused_temporaries(RuntimeError("RESOURCE_EXHAUSTED: ... temporaries (57.5G) exceeds ...")) // 2**20
        58880
    """
    if "RESOURCE_EXHAUSTED" not in str(error):
        return None
    sizes = re.findall(r"(?:temporaries \(|Used )([\d.]+)([KMG])", str(error))
    return int(float(sizes[0][0]) * {"K": 2**10, "M": 2**20, "G": 2**30}[sizes[0][1]]) if sizes else 2**62


def stored_for_backward(loss: Any, train_state: TrainState, batch: Any, constants: Any) -> int:
    """Return the bytes of what a loss stores for its backward pass, parameters apart, on all devices together."""

    def pullback(params: Any, state: Any, batch: Any, constants: Any) -> Any:
        return jax.vjp(lambda params: value_of(loss, params, state, batch, constants), params)[1]

    stored = jax.tree.leaves(jax.eval_shape(pullback, train_state.params, train_state.state, batch, constants))
    left = collections.Counter((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(train_state.params))
    total = 0
    for leaf in stored:
        if left[kind := (leaf.shape, str(leaf.dtype))]:
            left[kind] -= 1
        elif not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            total += math.prod(leaf.shape) * leaf.dtype.itemsize
    return total


def value_of(loss: Any, params: Any, state: Any, batch: Any, constants: Any) -> Any:
    """Compute a loss in training."""
    given = {} if constants is None else {"constants": constants}
    return loss(params, state, batch, key=jax.random.key(0), train=True, **given)[0]
