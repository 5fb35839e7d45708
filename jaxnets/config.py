"""The settings of a network, said once: documented, checked, and written to and read from JSON exactly."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import math
import numbers
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Self, TypeAlias, Union, get_args, get_origin, get_type_hints

import jax
import numpy as np

from jaxnets import nn
from jaxnets.errors import SettingError
from jaxnets.model import Model, make_model
from jaxnets.spec import Spec
from jaxnets.tree import describe
from jaxnets.types import Array

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "LayerCount",
    "LayerSizes",
    "ModelConfig",
    "PositiveFloat",
    "PositiveInt",
    "Rate",
    "Rule",
    "build_model",
    "one_of",
]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "celu": nn.celu,
    "elu": nn.elu,
    "gelu_exact": functools.partial(nn.gelu, approximate=False),
    "gelu_tanh": nn.gelu,
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_swish": nn.hard_swish,
    "hard_tanh": nn.hard_tanh,
    "identity": nn.identity,
    "leaky_relu": nn.leaky_relu,
    "mish": nn.mish,
    "quick_gelu": nn.quick_gelu,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "selu": nn.selu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "soft_sign": nn.soft_sign,
    "softplus": nn.softplus,
    "tanh": nn.tanh,
}
"""The activation functions that a config can name; `jaxnets.nn.activations` has their formulas.

`gelu_tanh` is the approximation by tanh, JAX's default and GPT-2's; `gelu_exact` is PyTorch's default; `quick_gelu` is
CLIP's.
"""


class Rule(NamedTuple):
    """What holds for every value of a field; `Annotated[int, Rule("even", lambda value: value % 2 == 0)]` is its type.

    Attributes:
        meaning: what the value must be, in words.
        holds: whether it is.

    Example:
        >>> Rule("even", lambda value: value % 2 == 0)
        Rule('even')
    """

    meaning: str
    holds: Callable[[Any], bool]

    def __repr__(self) -> str:
        """Without the function, of which only the address could be shown."""
        return f"Rule({self.meaning!r})"


def one_of(choices: Collection[Any]) -> Rule:
    """The rule that a value is one of those in a table.

    Example:
        >>> one_of({"rnn": 1, "lstm": 2}).meaning
        'one of rnn, lstm'
    """
    return Rule(f"one of {', '.join(map(str, choices))}", lambda value: value in choices)


PositiveInt: TypeAlias = Annotated[int, Rule("at least 1", lambda value: value >= 1)]
"""A whole number of at least 1."""
_MAX_LAYERS = 10_000
LayerCount: TypeAlias = Annotated[int, Rule("from 1 to 10,000", lambda value: 1 <= value <= _MAX_LAYERS)]
"""How many layers a network has; a spec of more would fill the memory, if a damaged file says so."""
LayerSizes: TypeAlias = Annotated[
    tuple[PositiveInt, ...], Rule("at most 10,000 sizes", lambda value: len(value) <= _MAX_LAYERS)
]
"""The sizes of layers, one for each."""
PositiveFloat: TypeAlias = Annotated[float, Rule("greater than 0", lambda value: value > 0)]
"""A number greater than 0."""
Rate: TypeAlias = Annotated[float, Rule("a probability in [0, 1]", lambda value: 0 <= value <= 1)]
"""The probability to drop something."""
Activation: TypeAlias = Annotated[str, one_of(ACTIVATIONS)]
"""The name of a function in `ACTIVATIONS`."""


_REPLACED: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar(
    "jaxnets_replaced_fields", default=types.MappingProxyType({})
)


@contextlib.contextmanager
def replaced_fields(**fields: Any) -> Iterator[None]:
    """Give fields of these names these values in every config that is made in a `with` block, for `jaxnets.plan`.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class BlocksConfig(ModelConfig):
        ...     blocks: PositiveInt
        ...     remat: bool = False
        >>> with replaced_fields(remat=True):
        ...     config = BlocksConfig(2)
        >>> config.remat, BlocksConfig(2).remat
        (True, False)
    """
    token = _REPLACED.set(fields)
    try:
        yield
    finally:
        _REPLACED.reset(token)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The base of all configs: a frozen dataclass of which a network's spec and computation follow.

    A field is a `bool`, `int`, `float` or `str`, a tuple of one of them (`tuple[int, ...]`), or one of these or None.
    `PositiveInt`, `LayerCount`, `LayerSizes`, `PositiveFloat`, `Rate` and `Activation` also limit the value. A config
    is hashable, equal to another of the same values, and changed by `dataclasses.replace(config, name=value)`. A float
    may be traced, so that one program serves many rates; only such a config cannot be hashed or written.

    Raises:
        TypeError: when it is made with a value of another type.
        SettingError: a ValueError, when it is made with a value that its field does not allow.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class TwoLayersConfig(ModelConfig):
        ...     features: PositiveInt
        ...     activation: Activation = "relu"
        >>> TwoLayersConfig(8, activation="tanh").to_dict()
        {'features': 8, 'activation': 'tanh'}
        >>> TwoLayersConfig(0)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: TwoLayersConfig: features must be at least 1, got 0
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for name in _REPLACED.get().keys() & {field.name for field in dataclasses.fields(self)}:
            object.__setattr__(self, name, _REPLACED.get()[name])
        for field in dataclasses.fields(self):
            name = f"{type(self).__name__}: {field.name}"
            object.__setattr__(self, field.name, _checked(getattr(self, field.name), hints[field.name], name))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON holds; `from_dict` makes an equal config of them.

        Raises:
            TypeError: if a value is traced.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in values.items():
            if isinstance(value, jax.core.Tracer):
                raise TypeError(f"{type(self).__name__}: {name} is traced and cannot be written; write a number")
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a config of its fields by name, as `to_dict` returned them; those left out have their defaults.

        Raises:
            TypeError: if a value is of another type.
            ValueError: if a name is unknown, one without a default is missing, or a value is not allowed.
        """
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        missing = [name for name, default in fields.items() if default is dataclasses.MISSING and name not in values]
        if unknown := [name for name in values if name not in fields]:
            raise ValueError(f"{cls.__name__} has no {', '.join(unknown)}; its fields are {', '.join(fields)}")
        if missing:
            raise ValueError(f"{cls.__name__} needs {', '.join(missing)} too, got {', '.join(values) or 'nothing'}")
        return cls(**values)


_PLAIN: Mapping[Any, tuple[Any, str]] = {
    bool: ((bool, np.bool_), "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a string"),
}
"""Of each plain type which values are taken for it, and what it is called."""


def _checked(value: Any, hint: Any, name: str) -> Any:
    """Convert the value of a field to exactly the type that its annotation says, or say what is wrong with it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        value = _checked(value, arguments[0], name)
        for rule in arguments[1:]:
            if not isinstance(value, jax.core.Tracer) and not rule.holds(value):
                raise SettingError(f"{name} must be {rule.meaning}, got {value!r}")
        return value
    if origin in (Union, types.UnionType) and types.NoneType in arguments:
        return None if value is None else _checked(value, arguments[0], name)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"{name} must be a tuple, got {value!r}")
        return tuple(_checked(entry, arguments[0], f"{name}[{i}]") for i, entry in enumerate(value))
    if hint not in _PLAIN:
        raise TypeError(
            f"{name} must be annotated as bool, int, float, str, a tuple of one, or one or None; got {hint}"
        )
    if hint is float and isinstance(value, jax.core.Tracer):
        return value
    taken, called = _PLAIN[hint]
    is_flag = isinstance(value, bool | np.bool_)
    if not isinstance(value, taken) or (is_flag and hint is not bool):
        raise TypeError(f"{name} must be {called}, got {value!r}")
    try:
        plain = hint(value)
    except OverflowError:  # a whole number beyond the largest float
        plain = math.inf
    if hint is float and not math.isfinite(plain):
        raise SettingError(f"{name} must be finite, got {value!r}")
    return plain


def check_config(config: Any, expected: type[ModelConfig]) -> None:
    """Raise a TypeError that says what to write if `config` is no `expected`."""
    if not isinstance(config, expected):
        advice = "pass model.config" if isinstance(config, Model) else f"write {expected.__name__}(...)"
        raise TypeError(f"config must be {expected.__name__}(...), got {type(config).__name__}; {advice}")


def check_inputs(inputs: Any, expected: type[tuple[Any, ...]]) -> None:
    """Raise a TypeError that says what to write if `inputs` is no `expected`, a NamedTuple."""
    if not isinstance(inputs, expected):
        fields = ", ".join(expected._fields)  # type: ignore[attr-defined]
        raise TypeError(f"inputs must be {expected.__name__}({fields}), got {describe(inputs)}")


def build_model(
    config: Any, expected: type[ModelConfig], spec: Callable[..., Spec], apply: Callable[..., tuple[Any, Any]]
) -> Model:
    """Make the model of a config: its spec is `spec(config)`, and its apply binds the first argument of `apply`.

    Args:
        config: the settings.
        expected: their class.
        spec: `spec(config)` describes the parameters and the state.
        apply: `apply(config, params, state, inputs, *, key=None, train) -> (outputs, new_state)`.

    Returns:
        The model, which carries the config.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> @dataclasses.dataclass(frozen=True)
        ... class ScaledConfig(ModelConfig):
        ...     features: PositiveInt
        ...     factor: float = 2.0
        >>> def spec(config):
        ...     return nn.linear_spec(config.features, 1)
        >>> def apply(config, params, state, x, *, key=None, train):
        ...     return config.factor * nn.linear(params, x), state
        >>> model = build_model(ScaledConfig(3), ScaledConfig, spec, apply)
        >>> model.config.factor, model.spec["kernel"].shape
        (2.0, (3, 1))
    """
    check_config(config, expected)
    bound: Any = functools.partial(apply, config)
    bound.__name__ = apply.__module__.rpartition(".")[2]  # errors begin with it: gpt, vit, ...
    return make_model(spec(config), bound, config)
