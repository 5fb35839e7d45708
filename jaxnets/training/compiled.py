"""Ways to run a training step: compiled alone, many steps in one dispatch, whole epochs on the device.

Each takes a pure function and returns a pure function of the same kind, so they compose with one another and with
`jax.vmap`; all of them compute the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.label_check import note_rows
from jaxnets.training.batches import batch_indices, data_size
from jaxnets.training.checks import positive_integers
from jaxnets.training.first_step import watched
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step
from jaxnets.training.tune import compiler_options, keep_freed_memory
from jaxnets.types import PyTree

TrainFunction = Callable[..., tuple[TrainState, PyTree]]


def compile_step(step: TrainFunction) -> Any:
    """Compile a step, or what the functions below make of one, with `jax.jit`.

    The train state that is passed in is donated: its buffers are reused for the result, so it cannot be read again.
    On CPU the compiler options of `jaxnets.training.tune` are passed, and freed memory is kept from then on
    (`keep_freed_memory`).

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`.

    Returns:
        What `jax.jit` returns: the compiled function, with `.lower(...)` for ahead-of-time compilation.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> def count(train_state, batch):
        ...     return train_state._replace(step=train_state.step + 1), {}
        >>> state = TrainState.create({}, (), seed=0)
        >>> int(compile_step(count)(state, None)[0].step)
        1
    """
    keep_freed_memory()
    return jax.jit(watched(step), donate_argnums=0, compiler_options=compiler_options())


def scan_steps(step: Step) -> TrainFunction:
    """Run one step for each entry of a stack of batches, in one `lax.scan`.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`.

    Returns:
        `run(train_state, batches) -> (train_state, metrics)`. Every array of `batches` and of the metrics has a new
        first axis `[steps, ...]`. What else `run` is given goes to every step, such as constants (see `make_step`).

    Example:
        >>> import jax.numpy as jnp
        >>> def add(train_state, batch):
        ...     return train_state._replace(params=train_state.params + jnp.sum(batch)), {"sum": jnp.sum(batch)}
        >>> state = TrainState.create(jnp.array(0.0), (), seed=0)
        >>> after, metrics = scan_steps(add)(state, jnp.array([[1.0, 2.0], [3.0, 4.0]]))
        >>> after.params, metrics["sum"]
        (Array(10., dtype=float32), Array([3., 7.], dtype=float32))
    """

    def run(train_state: TrainState, batches: Any, *constants: PyTree) -> tuple[TrainState, PyTree]:
        return jax.lax.scan(lambda carry, batch: watched(step)(carry, batch, *constants), train_state, batches)

    return run


def scan_data(step: Step, *, steps: int, batch_size: int, shuffle: bool = True) -> TrainFunction:
    """Run the next `steps` steps on batches drawn from a data set that lies on the device, in one `lax.scan`.

    Which examples step n sees follows from the run's key and n (`batch_indices`), so it does not matter how steps
    are grouped into calls. With `jax.vmap(run, in_axes=(0, None))` over stacked train states, many networks train
    at once, each in its own order.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`.
        steps: how many steps a call runs; any number, also more than an epoch.
        batch_size: examples a step.
        shuffle: draw a new order every epoch; False keeps the order of the data set.

    Returns:
        `run(train_state, data) -> (train_state, metrics)`, where the arrays of `data` are `[examples, ...]` and those
        of the metrics `[steps, ...]`. What else `run` is given goes to every step, such as constants (see `make_step`).

    Example:
        >>> import jax.numpy as jnp
        >>> def first(train_state, batch):
        ...     return train_state._replace(step=train_state.step + 1), batch
        >>> run = scan_data(first, steps=3, batch_size=2, shuffle=False)
        >>> state = TrainState.create({}, (), seed=0)
        >>> run(state, jnp.array([10, 11, 12, 13]))[1]
        Array([[10, 11],
               [12, 13],
               [10, 11]], dtype=int32)
    """
    steps, batch_size = positive_integers("scan_data", steps=steps, batch_size=batch_size)

    def run(train_state: TrainState, data: Any, *constants: PyTree) -> tuple[TrainState, PyTree]:
        size = data_size(data)
        data = jax.tree.map(jnp.asarray, data)  # traced rows cannot index NumPy's arrays
        indices = batch_indices(train_state.key, train_state.step, steps, size, batch_size, shuffle=shuffle)

        def one(carry: TrainState, rows: jax.Array) -> tuple[TrainState, PyTree]:
            batch = jax.tree.map(lambda array: array[rows], data)
            note_rows(batch)
            taken: tuple[TrainState, PyTree] = watched(step)(carry, batch, *constants)
            return taken

        return jax.lax.scan(one, train_state, indices)

    return run
