"""Several networks in one train state, trained in turns: GANs, actor and critic, and the like."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets import metrics as metric
from jaxnets.integers import as_integer, as_seed
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.sharding import Placement
from jaxnets.training.batches import data_size
from jaxnets.training.first_step import note_model, reach
from jaxnets.training.gradient import Loss, loss_gradient
from jaxnets.training.loss_scale import loss_scale
from jaxnets.training.nonfinite import guarded
from jaxnets.training.optimizer_arguments import argument_names, extra_arguments
from jaxnets.training.placed import check_one_way, placed_loss, placed_step
from jaxnets.training.shardings import train_state_shardings
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step
from jaxnets.tree import describe
from jaxnets.types import Array, DTypeLike, Key, Params, PyTree, State


class Part(NamedTuple):
    """One of the networks that `alternate` trains.

    Attributes:
        loss: `loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))`, where `params` and `state`
            are those of all networks by name, `{"d": ..., "g": ...}`. The gradient is taken of this network alone.
        optimizer: an optax optimizer of this network's parameters; `with_ema` keeps the average of them.
        updates: how many updates this network gets in each step, each on its own part of the batch.
    """

    loss: Loss
    optimizer: optax.GradientTransformation
    updates: int = 1


def alternate(
    parts: Mapping[str, Part],
    *,
    accumulate: int = 1,
    skip_nonfinite: int = 0,
    axis_name: str | None = None,
    placement: Placement | None = None,
) -> Step:
    """Make one training step that updates several networks in turns, each by its own loss and optimizer.

    In the order of `parts`, each network gets its updates, and all see what was changed before. A network with n
    updates takes each on its own n-th of the batch; one with a single update takes the whole batch. So a WGAN whose
    critic is updated 5 times on 64 images trains on batches of 320, and its generator's loss may look at `batch[:64]`.

    The key of update i of a network is `subkey(subkey(key of the step, name), i)`, so equal names of noise in two
    losses draw different numbers. The step counts once, however many updates it makes.

    Args:
        parts: the networks by name, see `Part`.
        accumulate: as in `make_step`, for each update.
        skip_nonfinite: as in `make_step`: a step of which any update gives a number that is not finite is left out.
        axis_name: as in `make_step`.
        placement: as in `make_step`; `place(models, mesh)` is one of all networks.

    Returns:
        `step(train_state, batch) -> (train_state, metrics)`, for `fit`, `scan_data`, `compile_step` and the like.
        Params and state are dicts by the names of `parts` and of networks that do not train, `opt_state` is one by the
        names of `parts`; see `alternate_state`. The metric `"loss"` of the loss of `"d"` is named `"d/loss"`.
        `step(train_state, batch, constants)` passes constants to every loss, as in `make_step`.

    Raises:
        TypeError: if `parts` is not as described; by the step, if params, state or metrics are not.
        ValueError: if a number is out of range, or `axis_name` comes with a placement; by the step, if a batch cannot
            be cut into equal parts.

    Example:
        >>> def d_loss(params, state, batch, *, key, train):
        ...     return jnp.mean((params["d"] - batch) ** 2), (state, {"seen": metric.mean(batch)})
        >>> def g_loss(params, state, batch, *, key, train):
        ...     return (params["g"] - params["d"]) ** 2, (state, {})
        >>> step = alternate({"d": Part(d_loss, optax.sgd(0.5), updates=2), "g": Part(g_loss, optax.sgd(0.25))})
        >>> params = {"d": jnp.array(0.0), "g": jnp.array(0.0)}
        >>> opt_state = {name: optax.sgd(0.5).init(leaf) for name, leaf in params.items()}
        >>> after, _ = jax.jit(step)(TrainState.create(params, opt_state, seed=0), jnp.array([1.0, 1.0, 4.0, 4.0]))
        >>> after.params, int(after.step)
        ({'d': Array(4., dtype=float32), 'g': Array(2., dtype=float32)}, 1)

    Reference:
        Goodfellow et al., Generative adversarial nets, 2014, algorithm 1; Arjovsky et al., Wasserstein GAN, 2017.
    """
    _check_parts(parts, accumulate)
    skip_nonfinite = as_integer("alternate", "skip_nonfinite", skip_nonfinite, at_least=0)
    check_one_way("alternate", axis_name, placement)
    here = dict(parts) if placement is None else {name: _placed(part, placement) for name, part in parts.items()}

    def step(train_state: TrainState, batch: Any, constants: PyTree = None) -> tuple[TrainState, PyTree]:
        reach(guarded_step, train_state, batch, constants)
        _check_networks(train_state, list(parts))
        step_key = subkey(subkey(train_state.key, "step"), train_state.step)
        if axis_name is not None:
            step_key = subkey(step_key, jax.lax.axis_index(axis_name))
        params, state, opt_state = dict(train_state.params), train_state.state, dict(train_state.opt_state)
        measured: dict[str, Any] = {}
        for name, part in here.items():
            others = {other: tree for other, tree in params.items() if other != name}
            turn = _turn(name, part, others, constants, accumulate, axis_name)
            own = params[name], state, opt_state[name]
            (params[name], state, opt_state[name]), metrics = turn(own, batch, subkey(step_key, name))
            measured |= _named(name, metrics)
        after = train_state._replace(step=train_state.step + 1, params=params, state=state, opt_state=opt_state)
        return after, measured

    step.optimizer = {name: (part.optimizer, part.updates) for name, part in parts.items()}  # type: ignore[attr-defined]
    guarded_step: Step = guarded(step, skip_nonfinite=skip_nonfinite)
    guarded_step.on_mesh = functools.partial(  # type: ignore[attr-defined]
        alternate, parts, accumulate=accumulate, skip_nonfinite=skip_nonfinite
    )
    return guarded_step if placement is None else placed_step(guarded_step, placement, function="alternate")


def _placed(part: Part, placement: Placement) -> Part:
    return part._replace(loss=placed_loss(part.loss, placement))


_Own: TypeAlias = tuple[Params, State, PyTree]
"""What an update changes: a network's own parameters, the state of all networks, its own optimizer state."""


def _turn(
    name: str, part: Part, others: dict[str, Params], constants: PyTree, accumulate: int, axis_name: str | None
) -> Callable[[_Own, Any, Key], tuple[_Own, PyTree]]:
    """All updates of one network in a step, while the parameters of the others stay as they are."""

    def loss(own: Params, state: State, batch: Any, *, key: Key | None, train: bool) -> Any:
        given = {} if constants is None else {"constants": constants}
        return part.loss({**others, name: own}, state, batch, key=key, train=train, **given)

    loss.__name__ = str(getattr(part.loss, "__name__", name))
    gradient = loss_gradient(loss, accumulate=accumulate, axis_name=axis_name)
    names = argument_names(part.optimizer)

    def update(own: _Own, batch: Any, key: Key) -> tuple[_Own, PyTree]:
        params, state, opt_state = own
        scale = loss_scale("alternate", part.loss, opt_state)
        value, gradients, new_state, metrics = gradient(params, state, batch, key=key, scale=scale)
        extra: Any = extra_arguments(names, gradient, state, batch, key, value, gradients)
        updates, opt_state = part.optimizer.update(gradients, opt_state, params, **extra)
        return (optax.apply_updates(params, updates), new_state, opt_state), metrics

    def turn(own: _Own, batch: Any, key: Key) -> tuple[_Own, PyTree]:
        if part.updates == 1:
            return update(own, batch, subkey(key, 0))
        numbered = _cut(name, batch, part.updates), jnp.arange(part.updates)
        own, stacked = jax.lax.scan(lambda own, rows: update(own, rows[0], subkey(key, rows[1])), own, numbered)
        return own, metric.reduce(stacked)

    return turn


def _named(name: str, metrics: PyTree) -> dict[str, Any]:
    if not isinstance(metrics, dict):
        raise TypeError(f"alternate: the loss of {name!r} must return metrics by name, got {describe(metrics)}")
    return {f"{name}/{measure}": measured for measure, measured in metrics.items()}


def alternate_state(
    models: Mapping[str, Model],
    parts: Mapping[str, Part],
    seed: int | Array,
    *,
    dtype: DTypeLike = jnp.float32,
    placement: Placement | None = None,
) -> TrainState:
    """Initialize several networks and their optimizers from one seed, for the step that `alternate` makes.

    Args:
        models: the networks by name; those that have no part do not train.
        parts: as in `alternate`.
        seed: an integer from 0 to 2^32 - 1, or a traced one.
        dtype: of the parameters.
        placement: as in `init_train_state`.

    Returns:
        A train state whose `params` and `state` are dicts by the names of `models`, and whose `opt_state` is one by the
        names of `parts`. Each network is initialized from the key of its name.

    Raises:
        TypeError: if `models` or `parts` are not as described.
        ValueError: if a part has no model, or the seed does not fit 32 bits.

    Example:
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> models = {name: make_model(nn.linear_spec(2, 2), apply) for name in ("d", "g")}
        >>> parts = {name: Part(lambda *_, **__: None, optax.sgd(0.1)) for name in models}
        >>> sorted(alternate_state(models, parts, seed=0).params)
        ['d', 'g']
    """
    _check_parts(parts)
    for name, model in models.items():
        if not isinstance(model, Model):
            raise TypeError(f"alternate_state: models must be Models by name, but {name!r} is {describe(model)}")
    if missing := sorted(parts.keys() - models.keys()):
        raise ValueError(f"alternate_state: there is no model for the parts {missing}; there are {sorted(models)}")
    seed = as_seed("alternate_state", seed)
    note_model(dict(models))

    def initialize() -> TrainState:
        key = subkey(jax.random.key(jnp.asarray(seed, jnp.uint32)), "init")
        made = {name: model.init(subkey(key, name), dtype=dtype) for name, model in models.items()}
        params, state = ({name: pair[i] for name, pair in made.items()} for i in (0, 1))
        opt_state = {name: part.optimizer.init(params[name]) for name, part in parts.items()}
        return TrainState.create(params, opt_state, state=state, seed=seed)

    if placement is None:
        return initialize()
    shardings = train_state_shardings(jax.eval_shape(initialize), placement)
    result: TrainState = jax.jit(initialize, out_shardings=shardings)()
    return result


def _check_parts(parts: Any, accumulate: int = 1) -> None:
    if not isinstance(parts, Mapping) or not all(isinstance(part, Part) for part in parts.values()):
        got = describe(parts)
        if isinstance(parts, Mapping):
            got = str({name: describe(part) for name, part in parts.items()})
        raise TypeError(
            'alternate: parts must be Parts by name, such as {"d": Part(d_loss, d_optimizer, updates=5), '
            f'"g": Part(g_loss, g_optimizer)}}, got {got}'
        )
    numbers = {f"updates of {name!r}": part.updates for name, part in parts.items()} | {"accumulate": accumulate}
    for what, number in numbers.items():
        as_integer("alternate", what, number, at_least=1)


def _check_networks(train_state: TrainState, names: list[str]) -> None:
    """Raise TypeError unless a train state holds all networks by name."""
    for what, tree in (("params", train_state.params), ("opt_state", train_state.opt_state)):
        if not isinstance(tree, dict) or not tree.keys() >= set(names):
            raise TypeError(
                f"alternate: {what} of the train state must be a dict with the networks {names}, got {describe(tree)}; "
                "write alternate_state(models, parts, seed)"
            )


def _cut(name: str, batch: Any, updates: int) -> Any:
    """A batch with a new first axis of `updates` equal parts."""
    size = data_size(batch)
    if size % updates:
        raise ValueError(
            f"alternate: a batch of {size} examples cannot be cut into equal parts for {updates} updates of {name!r}"
        )
    return jax.tree.map(lambda leaf: jnp.reshape(leaf, (updates, size // updates, *jnp.shape(leaf)[1:])), batch)
