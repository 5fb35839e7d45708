"""What users get wrong in training: errors that say what came, what was expected and what to write.

Where steps are concerned they are raised while a program is traced, so that they cost nothing when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import jax

from jaxnets import metrics as metric
from jaxnets.integers import as_integer
from jaxnets.training.batches import check_data
from jaxnets.tree import describe, differences
from jaxnets.types import PyTree

if TYPE_CHECKING:
    from jaxnets.training.state import TrainState


def check_optimizer(function: str, optimizer: Any) -> None:
    """Raise TypeError unless this is an optax optimizer.

    Example:
        >>> import optax
        >>> check_optimizer("make_step", optax.sgd(0.1))
    """
    if callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None)):
        return
    name = getattr(optimizer, "__name__", None)
    if callable(optimizer) and name is not None:
        advice = f"got the function {name}; call it: optax.{name}(learning_rate=1e-3)"
    else:
        advice = f"got {describe(optimizer)}; write optax.adam(1e-3)"
    raise TypeError(f"{function}: optimizer must be an optax optimizer, {advice}")


def check_savable(function: str, train_state: TrainState) -> None:
    """Raise ValueError if an array of a train state has no entries, which orbax does not save.

    Example:
        >>> from jaxnets.training import TrainState
        >>> check_savable("fit", TrainState.create({"kernel": jax.numpy.ones(3)}, (), seed=0))
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(train_state):
        if 0 in getattr(leaf, "shape", ()):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(f"{function}: {name} is {describe(leaf)}, which a checkpoint cannot hold; leave it out")


def check_callbacks(callbacks: Any) -> tuple[Callable[..., Any], ...]:
    """Return callbacks as a tuple, or raise TypeError unless they are functions.

    Example:
        >>> check_callbacks(print)
        Traceback (most recent call last):
        ...
        TypeError: fit: callbacks must be a list of functions, got builtin_function_or_method; write callbacks=[print]
    """
    if callable(callbacks) or not isinstance(callbacks, Iterable):
        name = getattr(callbacks, "__name__", None)
        advice = f"; write callbacks=[{name}]" if callable(callbacks) and name else ""
        raise TypeError(f"fit: callbacks must be a list of functions, got {type(callbacks).__name__}{advice}")
    given = tuple(callbacks)
    for callback in given:
        if not callable(callback):
            raise TypeError(f"fit: callbacks must be functions of an event, got {describe(callback)}")
    return given


def check_loss_and_optimizer(function: str, loss: Any, optimizer: Any) -> None:
    """Raise TypeError unless the loss is a function and the optimizer one of optax.

    Example:
        >>> import optax
        >>> check_loss_and_optimizer("make_step", print, optax.sgd(0.1))
    """
    if hasattr(loss, "init") and hasattr(loss, "update"):
        raise TypeError(f"{function}: got an optimizer where the loss belongs; write {function}(loss, optimizer)")
    if not callable(loss):
        raise TypeError(
            f"{function}: loss must be a function loss(params, state, batch, *, key, train), got {describe(loss)}; "
            "supervised(model, losses.cross_entropy) makes the usual one"
        )
    check_optimizer(function, optimizer)


def check_opt_state(function: str, optimizer: Any, train_state: TrainState) -> None:
    """Raise ValueError if the optimizer's state in a train state has another structure than this optimizer's.

    Example:
        >>> import optax
        >>> from jaxnets.training import TrainState
        >>> params = {"w": jax.numpy.ones(2)}
        >>> train_state = TrainState.create(params, optax.adam(0.1).init(params), seed=0)
        >>> check_opt_state("make_step", optax.adam(0.2), train_state)
    """
    opt_state, wanted = train_state.opt_state, jax.eval_shape(optimizer.init, train_state.params)
    structures: list[Any] = [jax.tree.structure(tree) for tree in (opt_state, wanted)]
    if structures[0] == structures[1]:
        return
    raise ValueError(
        f"{function}: the optimizer's state in the train state is not that of this optimizer: "
        f"{'; '.join(differences(opt_state, wanted)[:3])}; write init_train_state(model, optimizer, seed), or "
        "TrainState.create(params, optimizer.init(params), seed=seed), with the same optimizer"
    )


def check_fit(train_state: Any, step: Any, validation: Any, evaluate: Any, checkpoints: Any = None) -> None:
    """Raise TypeError or ValueError if `fit` cannot begin with these arguments.

    Example:
        >>> from jaxnets.training import TrainState
        >>> check_fit(TrainState.create({}, (), seed=0), lambda train_state, batch: (train_state, {}), None, None)
    """
    if not {"params", "opt_state", "step", "seed"} <= set(getattr(train_state, "_fields", ())):
        raise TypeError(
            f"fit: the train state must be a TrainState, got {describe(train_state)}; "
            "write fit(init_train_state(model, optimizer, seed), step, data, ...)"
        )
    if checkpoints is not None:
        check_savable("fit", train_state)
    if isinstance(step, jax.stages.Wrapped) or getattr(step, "is_compiled", False):
        raise TypeError(
            "fit: step is compiled already; fit compiles many steps into one program, so pass the step itself: "
            "make_step(...), not jax.jit, compile_step or pmap_step of it; on several devices "
            "data_parallel(make_step(...), device_mesh())"
        )
    if not callable(step):
        raise TypeError(f"fit: step must be a function, got {describe(step)}; write make_step(loss, optimizer)")
    from jaxnets.data.source import Source  # whose package imports the events of `fit`

    if not isinstance(validation, Source):
        check_data(validation)
    if (validation is None) != (evaluate is None):
        raise ValueError("fit: validation data and evaluate go together; evaluate=make_evaluate(loss) measures it")
    if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(train_state)):
        raise ValueError(
            "fit: arrays of this train state were given to the steps of an earlier run, which wrote over them; go on "
            "with result.train_state, or give fit a copy each time: fit(jax.tree.map(jnp.copy, train_state), ...)"
        )


def positive_integers(function: str, **numbers: Any) -> list[int]:
    """Return numbers as integers of Python, and raise ValueError unless all are at least 1.

    Example:
        >>> positive_integers("fit", epochs=3, batch_size=64)
        [3, 64]
    """
    return [as_integer(function, name, number, at_least=1) for name, number in numbers.items()]


def check_metrics(shapes: dict[str, PyTree], best: str | None) -> None:
    """Check the names and values of the metrics of each split, and that `best`, `split/name`, is among them.

    Raises:
        TypeError: if a metric is computed to something else than an array.
        ValueError: if a name is that of a column of the history, or there is no metric `best`.

    Example:
        >>> check_metrics({"train": {"loss": jax.eval_shape(metric.mean, jax.numpy.ones(2))}}, "train/loss")
    """
    for split, like in shapes.items():
        computed = jax.eval_shape(metric.compute, like)
        if not all(isinstance(value, jax.ShapeDtypeStruct) for value in computed.values()):
            raise TypeError(f"fit: metrics are a dict, one number or array a name; got {computed!r}")
        taken = [name for name in ("step", "epoch", "split") if name in computed]
        if taken:
            raise ValueError(f"fit: {taken[0]!r} is a column of the history; give the metric another name")
        if best is not None and best.partition("/")[0] == split and best.partition("/")[2] not in computed:
            names = (f"{split}/{name}" for name in sorted(computed))
            raise ValueError(
                f"Checkpoints: there is no metric {best!r}; there are {', '.join(names)}; "
                "choose one with best=..., or none with best=None"
            )


def check_steps_done(done: int, epochs: int, per_epoch: int) -> None:
    """Raise ValueError if more steps are done than asked for.

    Example:
        >>> check_steps_done(6, epochs=2, per_epoch=3)
    """
    if done > epochs * per_epoch:
        raise ValueError(
            f"fit: {done} steps are done, which is more than epochs={epochs} of {per_epoch} steps; "
            "epochs counts those before too"
        )


def check_step_count(counted: int, taken: int) -> None:
    """Raise ValueError unless steps counted themselves once each.

    Example:
        >>> check_step_count(5, 5)
    """
    if counted == taken:
        return
    raise ValueError(
        "fit: a step must add 1 to train_state.step, from which the examples of a step follow and where a run goes on; "
        f"{taken} steps of yours added {counted}. Several networks are trained by one step that counts once: "
        'alternate({"d": Part(d_loss, d_optimizer), "g": Part(g_loss, g_optimizer)}). In a step of your own, return '
        "after._replace(step=train_state.step + 1), where train_state is what the step was given"
    )
