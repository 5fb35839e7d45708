"""Flax NNX modules as models, and models as NNX modules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxnets.extras import needed_for, require
from jaxnets.interop.rules import cast_params, cast_state, check_structure
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.types import Array, DTypeLike, Key, Params, PyTree, State

if TYPE_CHECKING:
    from flax import nnx


def from_nnx(module: nnx.Module | Callable[[nnx.Rngs], nnx.Module], *, trainable: Any = None) -> Model:
    """Wrap a Flax NNX module as a model.

    Its `nnx.Param`s are the model's params, all other variables except random keys (such as `nnx.BatchStat`) its state;
    both are nested dicts by attribute, with the indices of list items as keys. Every call works on a new module made
    from its arguments: the one passed here is never changed. `module.train()` and `module.eval()` set the mode, and
    each of its random streams gets a key derived from `key` by the stream's path.

    Args:
        module: `lambda rngs: Net(..., rngs=rngs)`, or a module whose arrays `init` returns for every key.
        trainable: the NNX filter of the variables that are params; by default `nnx.Param`.

    Returns:
        The model. `init(key)` returns the arrays of the module made with `nnx.Rngs(key)`, with float32 arrays cast to
        the requested dtype. `apply` updates state in training, and returns it unchanged otherwise.

    Raises:
        TypeError: if `module` is neither a module nor a function that returns one.
        ValueError: by `apply`, without a key where one is needed, or if params or state have another structure.

    Example:
        >>> from flax import nnx
        >>> model = from_nnx(lambda rngs: nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)))
        >>> params, state = model.init(jax.random.key(0))
        >>> jax.tree.map(jnp.shape, state)
        {'layers': {1: {'mean': (4,), 'var': (4,)}}}
        >>> with jax.numpy_rank_promotion("allow"):  # Flax's layers need JAX's default rule
        ...     outputs, state = model.apply(params, state, jnp.ones((8, 3)), train=True)
        >>> outputs.shape
        (8, 4)
    """
    with needed_for("interop.from_nnx"):
        from flax import nnx

    if not isinstance(module, nnx.Module) and not callable(module):
        raise TypeError(f"from_nnx: expected a module or a function that makes one, got {type(module).__name__}")
    make: Any = (lambda rngs: module) if isinstance(module, nnx.Module) else module
    template = module if isinstance(module, nnx.Module) else nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    if not isinstance(template, nnx.Module):
        raise TypeError(f"from_nnx: the function must return an nnx.Module, got {type(template).__name__}")

    def split(module: nnx.Module) -> Any:
        return nnx.split(module, nnx.Param if trainable is None else trainable, nnx.RngState, ...)

    graph, param_part, random_part, state_part = split(template)

    def init(key: Key, *, dtype: DTypeLike = jnp.float32) -> tuple[Params, State]:
        _, params, _, state = split(make(nnx.Rngs(key)))
        return cast_params(nnx.to_pure_dict(params), dtype), cast_state(nnx.to_pure_dict(state), dtype)

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool) -> tuple[Any, State]:
        check_structure("from_nnx", "params", params, nnx.to_pure_dict(param_part))
        check_structure("from_nnx", "state", state, nnx.to_pure_dict(state_part))
        random = _seeded(random_part, jax.random.key(0) if key is None else key)
        made = nnx.merge(graph, _filled(param_part, params), random, _filled(state_part, state))
        made.train() if train else made.eval()
        before = _counts(made)
        outputs = made(inputs)
        if key is None and any(map(functools.partial(_differ, train), before, _counts(made))):
            raise ValueError("from_nnx: the module draws random numbers; pass key=subkey(key, '<name>')")
        if not train:
            return outputs, state
        nnx.pop(made, nnx.Intermediate)
        _, _, _, state_after = split(made)
        new_state = nnx.to_pure_dict(state_after)
        check_structure("from_nnx", "the state after a step", new_state, state)
        return outputs, new_state

    return Model(init, apply)


def _filled(part: Any, values: PyTree) -> Any:
    """A copy of one part of a split module with new values in its variables."""
    from flax import nnx

    copy = jax.tree.map(lambda leaf: leaf, part)
    nnx.replace_by_pure_dict(copy, values)
    return copy


def _seeded(part: Any, key: Key) -> Any:
    """A copy of the random streams of a split module, each with its own key and a count of zero."""
    from flax import nnx

    values = {}
    for path, variable in nnx.to_flat_state(part):
        shape = variable.get_value().shape
        if isinstance(variable, nnx.RngKey):
            stream = subkey(key, "/".join(map(str, path[:-1])))
            values[path] = jax.random.split(stream, shape) if shape else stream
        else:
            values[path] = jnp.zeros(shape, jnp.uint32)
    return _filled(part, nnx.traversals.unflatten_mapping(values))


def _counts(module: nnx.Module) -> list[Array]:
    """The counts of each random stream; a stream replaces its count object when it is used."""
    from flax import nnx

    return [variable.get_value() for _, variable in nnx.to_flat_state(nnx.state(module, nnx.RngCount))]


def _differ(train: bool, before: Array, after: Array) -> bool:
    """Whether a count has changed. If it is traced this is unknown, because NNX's transforms replace all variables;
    then a change is assumed in training only.
    """
    if after is before:
        return False
    return train if isinstance(after, jax.core.Tracer) else bool(jnp.any(before != after))


def to_nnx(model: Model, *, rngs: nnx.Rngs, dtype: DTypeLike = jnp.float32) -> nnx.Module:
    """Wrap a model as a Flax NNX module, to be used alone or inside other modules.

    Its `__call__` is `module(inputs)`. `module.params` holds the model's params as `nnx.Param`s, `module.state` its
    state as `nnx.BatchStat`s. It is in training mode by default; `module.eval()` and `module.train()` switch.

    Args:
        model: the model.
        rngs: parameters use its stream `params`, random operations in training a fork of `dropout`.
        dtype: of the parameters.

    Returns:
        The module.

    Raises:
        TypeError: if `model` is not a model.
        ValueError: if `rngs` lacks one of the streams.

    Example:
        >>> from flax import nnx
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params["fc"], x), state
        >>> module = to_nnx(make_model({"fc": nn.linear_spec(3, 2)}, apply), rngs=nnx.Rngs(0))
        >>> module(jnp.ones((5, 3))).shape, module.params["fc"]["kernel"].shape
        ((5, 2), (3, 2))
    """
    if not isinstance(model, Model):
        raise TypeError(f"to_nnx: model must be a jaxnets.Model, got {type(model).__name__}")
    missing = [name for name in ("params", "dropout") if name not in rngs and "default" not in rngs]
    if missing:
        raise ValueError(
            f"to_nnx: rngs has no stream {missing[0]!r}; write nnx.Rngs(0) or nnx.Rngs(params=0, dropout=1)"
        )
    require("interop.to_nnx", "flax")
    module: nnx.Module = _module_class()(model, rngs, dtype)
    return module


@functools.cache
def _module_class() -> Any:
    """The class of `to_nnx`'s modules, defined when Flax is needed."""
    from flax import nnx

    def values(variables: PyTree) -> PyTree:
        return jax.tree.map(lambda v: v.get_value(), variables, is_leaf=lambda node: isinstance(node, nnx.Variable))

    class JaxnetsModel(nnx.Module):
        """A jaxnets model as an NNX module."""

        def __init__(self, model: Model, rngs: nnx.Rngs, dtype: DTypeLike):
            params, state = model.init(rngs.params(), dtype=dtype)
            self.functions = nnx.static(model)
            self.params = nnx.data(jax.tree.map(nnx.Param, params))
            self.state = nnx.data(jax.tree.map(nnx.BatchStat, state))
            self.rngs = rngs.dropout.fork()
            self.deterministic = False

        def __call__(self, inputs: Any) -> Any:
            """Run the model, and update its state in training."""
            train = not self.deterministic
            key = self.rngs() if train else None
            params, state = values(self.params), values(self.state)
            outputs, new_state = self.functions.apply(params, state, inputs, key=key, train=train)
            if train:
                jax.tree.map(
                    lambda variable, value: variable.set_value(value),
                    self.state,
                    new_state,
                    is_leaf=lambda node: isinstance(node, nnx.Variable),
                )
            return outputs

    return JaxnetsModel
