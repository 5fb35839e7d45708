"""The one interface that training, checkpoints, export and the model zoo see: `Model(init, apply)`."""

from __future__ import annotations

import functools
import inspect
import operator
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from jaxnets.layer import Call, CallLog, missing_name, name_layer, plain, recorded
from jaxnets.spec import Spec, init
from jaxnets.tree import describe, differences, is_below, paths
from jaxnets.types import Key, Params, State

if TYPE_CHECKING:
    from jaxnets.config import ModelConfig


class Model(NamedTuple):
    """A network as two pure functions, and what they were made of.

    Attributes:
        init: `init(key, *, dtype=float32) -> (params, state)`, two nested dicts of arrays.
        apply: `apply(params, state, inputs, *, key=None, train) -> (outputs, new_state)`. `train` says whether
            dropout drops and batch norm uses the batch; `key` is needed only where something is random.
        config: the settings of which all else follows, so that `save_model` can write them; None for a network that
            has none.
        spec: describes the arrays that `init` makes; None for networks of other libraries.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params["fc"], x), state
        >>> model = make_model({"fc": nn.linear_spec(3, 2)}, apply)
        >>> params, state = model.init(jax.random.key(0))
        >>> outputs, state = model.apply(params, state, jnp.ones((5, 3)), train=False)
        >>> outputs.shape
        (5, 2)
    """

    init: Callable[..., tuple[Params, State]]
    apply: Callable[..., tuple[Any, State]]
    config: ModelConfig | None = None
    spec: Spec = None

    def __hash__(self) -> int:  # a spec has none
        return hash((self.init, self.apply))


def make_model(spec: Spec, apply: Callable[..., tuple[Any, State]], config: ModelConfig | None = None) -> Model:
    """Make a `Model` of a spec and the function that runs it; its mistakes become errors that say what to write.

    Args:
        spec: a nested dict or list of `ArraySpec`s.
        apply: `apply(params, state, inputs, *, key=None, train) -> (outputs, new_state)`. The new state has the
            structure, shapes and dtypes of the state that came in; a network without state returns `state` itself.
        config: the settings of which both were made, if there are any.

    Returns:
        The model. See `Model` for an example. Its `apply` adds the path of the layer to the errors of layers.

    Raises:
        TypeError: if `apply` cannot be called like that; by the model, if it does not return a pair.
        ValueError: by the model, if a name in `params` or `state` does not exist, or the new state is not like the
            old one.

    Warns:
        UserWarning: once, if in training a layer with batch statistics ran, but the old ones were returned.
    """
    name = _check_signature(apply)
    warned = False

    @functools.wraps(apply)
    def checked_apply(
        params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        nonlocal warned

        def run(params: Params, state: State = state) -> tuple[Any, State]:
            return apply(params, state, inputs, key=key, train=train)

        try:
            result = run(params)
        except KeyError as error:
            misspelled = missing_name(error, run, params, state)
            if misspelled is None:
                raise
            raise ValueError(f"{name}: {misspelled}") from error
        except (ValueError, TypeError) as error:
            name_layer(error, run, params)
            raise
        _check_result(name, result, state)
        if train and not warned and (stale := _stale_layers(run, params, state, result[1])):
            warned = True
            warnings.warn(_stale_message(name, stale), stacklevel=2)
        return result

    return Model(functools.partial(init, spec), checked_apply, config, spec)


def _check_signature(apply: Any) -> str:
    """Return the name of an apply function, or raise TypeError if a model could not call it."""
    wanted = "(params, state, inputs, *, key=None, train) -> (outputs, new_state)"
    if not callable(apply):
        raise TypeError(f"make_model: apply must be a function {wanted}, got {describe(apply)}")
    name = str(getattr(apply, "__name__", "apply")).replace("<lambda>", "apply")
    try:
        signature = inspect.signature(apply)
    except ValueError:  # some built-in functions have none
        return name
    try:
        signature.bind("params", "state", "inputs", key=None, train=True)
    except TypeError as error:
        raise TypeError(f"make_model: apply must be a function {wanted}, got {name}{signature}: {error}") from None
    return name


def _check_result(name: str, result: Any, state: State) -> None:
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(
            f"{name}: must return the pair (outputs, new_state), got {describe(result)}; write "
            "`return outputs, state`, also where there is no state"
        )
    if wrong := differences(plain(result[1]), plain(state)):
        raise ValueError(
            f"{name}: the state that it returns must be like the state that it was given, in structure, shapes and "
            f"dtypes, but {'; '.join(wrong[:3])}; return it whole, such as `return outputs, {{**state, 'norm': norm}}`"
        )


def _stale_layers(run: Callable[[Params], Any], params: Params, state: State, new_state: State) -> list[Call]:
    """The layers that updated their state in training while the model returned the old one, found by running again."""
    if not any(map(operator.is_, jax.tree.leaves(state), jax.tree.leaves(new_state))):
        return []
    new = paths(new_state)
    kept = {path for path, old in paths(state).items() if old is new[path]}
    log = CallLog()
    try:
        jax.eval_shape(lambda: run(recorded(params, log)))
    except jax.errors.ConcretizationTypeError:  # the model looks at values, so it cannot be traced
        return []
    found: list[Call] = []
    for call in log.calls:  # a layer comes before those that it calls
        if call is None or call.kwargs.get("train") is not True or any(is_below(call.path, c.path) for c in found):
            continue
        held = {path for path in new if is_below(path, call.path)}
        if held and held <= kept:
            found.append(call)
    return found


def _stale_message(name: str, stale: list[Call]) -> str:
    layer, norm = stale[0].function.__name__, stale[0].path.split("/")[-1] or "norm"
    return (
        f"{name}: with train=True, it returned the old state of {[call.path for call in stale]}, though {layer} "
        "there computed a new one: its running statistics never change, and evaluation uses those of the beginning; "
        f"keep what the layer returns, `x, {norm} = {layer}(params[{norm!r}], state[{norm!r}], x, train=train)`, and "
        f"return it, `return x, {{{norm!r}: {norm}}}`; a layer whose statistics must not change takes train=False"
    )
