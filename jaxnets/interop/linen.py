"""Flax Linen modules as models, and models as Linen modules."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.extras import needed_for, require
from jaxnets.interop.rules import cast_params, cast_state, check_structure
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.types import DTypeLike, Key, Params, PyTree, State

if TYPE_CHECKING:
    from flax import linen

TrainArgument: TypeAlias = str | Callable[[bool], dict[str, Any]] | None
"""How to pass `train` to a module: a name, a function from `train` to keyword arguments, or None for not at all."""

_MEANS_TRAIN = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


def from_linen(
    module: linen.Module,
    sample_input: Any,
    *,
    rngs: Sequence[str] = ("dropout",),
    train_argument: TrainArgument = "auto",
) -> Model:
    """Wrap a Flax Linen module as a model.

    The collection `"params"` is the model's params; all other collections of `module.init` (such as `"batch_stats"`)
    are its state, by name. Boxed values (`linen.with_partitioning`) are unboxed, and sown intermediates are omitted.

    Args:
        module: the module. Its `__call__` takes the inputs as its first argument.
        sample_input: inputs like those of `apply`; zeros are used for `jax.ShapeDtypeStruct`s.
        rngs: names of the random keys that the module uses; each is derived from `key` by its name.
        train_argument: how to pass `train` to the module: the name of an argument of its `__call__` or of a field of
            the module, one of `train`, `training`, `is_training`, `deterministic` and `use_running_average` (the last
            two mean the opposite); a function of `train` that returns keyword arguments for `__call__`; or None if it
            does the same in training. By default the name is detected.

    Returns:
        The model. `init(key)` returns the arrays of `module.init(key, sample_input)` in evaluation, with float32 arrays
        cast to the requested dtype. `apply` updates state in training, and returns it unchanged otherwise.

    Raises:
        ValueError: if it is not clear how to pass `train` to the module; by `apply`, without a key where one is needed,
            or if the module changes the structure of the state.
        TypeError: if `module` is not a Linen module.

    Example:
        >>> from flax import linen
        >>> class Net(linen.Module):
        ...     @linen.compact
        ...     def __call__(self, x, train):
        ...         x = linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(x))
        ...         return linen.Dropout(0.5)(x, deterministic=not train)
        >>> model = from_linen(Net(), jnp.ones((1, 3)))
        >>> params, state = model.init(jax.random.key(0))
        >>> sorted(params), sorted(state)
        (['BatchNorm_0', 'Dense_0'], ['batch_stats'])
        >>> with jax.numpy_rank_promotion("allow"):  # Flax's layers need JAX's default rule
        ...     outputs, state = model.apply(params, state, jnp.ones((8, 3)), key=jax.random.key(1), train=True)
        >>> outputs.shape
        (8, 4)
    """
    with needed_for("interop.from_linen"):
        from flax import linen
        from flax.core import meta

    if not isinstance(module, linen.Module):
        raise TypeError(f"from_linen: module must be a flax.linen.Module, got {type(module).__name__}")
    configure = _pass_train(module, train_argument)

    def init(key: Key, *, dtype: DTypeLike = jnp.float32) -> tuple[Params, State]:
        configured, arguments = configure(False)
        variables = dict(meta.unbox(configured.init(key, _zeros_for_shapes(sample_input), **arguments)))
        params = variables.pop("params", {})
        return cast_params(params, dtype), cast_state(variables, dtype)

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool) -> tuple[Any, State]:
        configured, arguments = configure(train)
        keys = {} if key is None else {name: subkey(key, name) for name in rngs}
        mutable = sorted(state) if train else []
        with _missing_keys_explained(key, rngs):
            run = functools.partial(configured.apply, {"params": params, **state}, inputs, rngs=keys, **arguments)
            if not mutable:
                return run(), state
            outputs, updated = run(mutable=mutable)
        new_state = dict(meta.unbox(updated))
        check_structure("from_linen", "the state after a step", new_state, state)
        return outputs, new_state

    return Model(init, apply)


def _pass_train(
    module: linen.Module, train_argument: TrainArgument
) -> Callable[[bool], tuple[linen.Module, dict[str, Any]]]:
    """A function from `train` to the module to call and its keyword arguments."""
    if train_argument is None:
        return lambda train: (module, {})
    if not isinstance(train_argument, str):
        return lambda train: (module, train_argument(train))
    if train_argument not in ("auto", *_MEANS_TRAIN):
        raise ValueError(
            f"from_linen: train_argument must be one of {sorted(_MEANS_TRAIN)}, got {train_argument!r}; "
            f"pass train_argument=lambda train: {{{train_argument!r}: train}}"
        )
    parameters = inspect.signature(type(module).__call__).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    names = list(_MEANS_TRAIN) if train_argument == "auto" else [train_argument]
    arguments = [name for name in names if name in parameters or (takes_any and name == train_argument)]
    fields = [field.name for field in dataclasses.fields(module) if field.name in names]
    candidates = arguments or fields
    unclear = takes_any or train_argument != "auto" or any(map(_may_mean_train, list(parameters.values())[2:]))
    if len(candidates) > 1 or (not candidates and unclear):
        raise ValueError(
            f"from_linen: cannot detect how to pass train to {type(module).__name__}, its __call__ takes "
            f"{[name for name in parameters if name != 'self']}; pass train_argument=<name>, None if it does the same "
            "in training, or a function such as lambda train: {'deterministic': not train}"
        )
    if not candidates:
        return lambda train: (module, {})
    name, means = candidates[0], _MEANS_TRAIN[candidates[0]]
    if arguments:
        return lambda train: (module, {name: train == means})
    clone: Any = module.clone
    return lambda train: (clone(**{name: train == means}), {})


def _may_mean_train(parameter: inspect.Parameter) -> bool:
    """Whether an argument after the inputs could mean `train`."""
    return isinstance(parameter.default, bool) or parameter.annotation in (bool, "bool")


def _zeros_for_shapes(inputs: Any) -> Any:
    def make(leaf: Any) -> Any:
        return jnp.zeros(leaf.shape, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf

    return jax.tree.map(make, inputs)


@contextlib.contextmanager
def _missing_keys_explained(key: Key | None, rngs: Sequence[str]) -> Iterator[None]:
    from flax.errors import InvalidRngError

    try:
        yield
    except InvalidRngError as error:
        advice = "pass key=subkey(key, '<name>')" if key is None else f"add its name to rngs={tuple(rngs)}"
        raise ValueError(f"from_linen: the module needs a random key that it was not given; {advice}") from error


def to_linen(
    model: Model,
    *,
    collection: str = "batch_stats",
    rng: str = "dropout",
    dtype: DTypeLike = jnp.float32,
    name: str | None = None,
) -> linen.Module:
    """Wrap a model as a Flax Linen module, to be used alone or inside other modules.

    Its `__call__` is `module(inputs, train)`. Parameters are variables of the collection `"params"`, state of
    `collection`, both under their names in the model. In training the collection must be mutable if the model has
    state, and a key for `rng` must be passed if it needs one. `init` needs no such key: it runs the model in evaluation
    mode.

    Args:
        model: the model.
        collection: the collection of the model's state.
        rng: the name of the key that becomes the model's `key`.
        dtype: of the parameters.
        name: of the module inside its parent.

    Returns:
        The module.

    Raises:
        TypeError: if `model` is not a model.

    Example:
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params["fc"], x), state
        >>> module = to_linen(make_model({"fc": nn.linear_spec(3, 2)}, apply))
        >>> variables = module.init(jax.random.key(0), jnp.ones((1, 3)), train=False)
        >>> jax.tree.map(jnp.shape, variables)
        {'params': {'fc': {'bias': (2,), 'kernel': (3, 2)}}}
        >>> module.apply(variables, jnp.ones((5, 3)), train=True).shape
        (5, 2)
    """
    if not isinstance(model, Model):
        raise TypeError(f"to_linen: model must be a jaxnets.Model, got {type(model).__name__}")
    require("interop.to_linen", "flax")
    module: linen.Module = _module_class()(functions=model, collection=collection, rng=rng, dtype=dtype, name=name)
    return module


@functools.cache
def _module_class() -> Any:
    """The class of `to_linen`'s modules, defined when Flax is needed."""
    from flax import core, linen

    class JaxnetsModel(linen.Module):
        """A jaxnets model as a Linen module."""

        functions: Model
        collection: str
        rng: str
        dtype: Any

        @linen.compact
        def __call__(self, inputs: Any, train: bool) -> Any:
            """Run the model, and update its state in training."""
            initialize = functools.partial(self.functions.init, dtype=self.dtype)
            if self.is_initializing():
                params, state = initialize(self.make_rng("params"))
            else:  # only shapes are needed, for Flax to check its variables
                params, state = jax.eval_shape(initialize, jax.random.key(0))
            params = _declare(params, "model", lambda name, make: core.unfreeze(self.param(name, lambda _: make())))
            variables: dict[str, Any] = {}

            def declare_state(name: str, make: Callable[[], PyTree]) -> PyTree:
                variables[name] = self.variable(self.collection, name, make)
                return core.unfreeze(variables[name].value)

            state = _declare(state, "model", declare_state)
            train = train and not self.is_initializing()
            key = self.make_rng(self.rng) if self.has_rng(self.rng) else None
            outputs, state = self.functions.apply(params, state, inputs, key=key, train=train)
            if train:
                for name, variable in variables.items():
                    variable.value = state[name] if _has_names(state) else state
            return outputs

    return JaxnetsModel


def _has_names(tree: PyTree) -> bool:
    return isinstance(tree, dict) and all(isinstance(name, str) for name in tree)


def _declare(tree: PyTree, name: str, declare: Callable[[str, Callable[[], PyTree]], PyTree]) -> PyTree:
    """Declare each entry of a dict under its name, any other tree under `name`; entries without arrays are kept."""

    def one(name: str, part: PyTree) -> PyTree:
        return declare(name, lambda: _zeros_for_shapes(part)) if jax.tree.leaves(part) else part

    return {key: one(key, part) for key, part in tree.items()} if _has_names(tree) else one(name, tree)
