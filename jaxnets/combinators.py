"""Chains of layers without writing the function: sizes are inferred from an input.

Everything here is sugar on top of specs and functions. `build(serial(...), inputs)` gives a `Model` that is equal in
parameters, values and gradients to the one written by hand with the same names.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.repeat import repeat as run_repeated
from jaxnets.spec import Spec, init, repeat_spec
from jaxnets.types import Array, DTypeLike, Key, Params, PyTree, State


class Layer(NamedTuple):
    """A layer whose sizes wait for an input.

    Attributes:
        name: what the layer is called when its container is not told a name.
        spec: `spec(inputs)` describes its arrays for inputs given as `jax.ShapeDtypeStruct`s.
        apply: `apply(params, state, inputs, *, key, train) -> (outputs, new_state)`.

    Example:
        >>> Layer("half", lambda inputs: {}, lambda params, state, x, *, key, train: (x / 2, state)).name
        'half'
    """

    name: str
    spec: Callable[[Any], Spec]
    apply: Callable[..., tuple[Any, State]]


LayerLike: TypeAlias = Layer | Callable[[Any], Any]
"""A `Layer`, or a plain function of the inputs such as `jax.nn.relu`."""


def build(layer: LayerLike, inputs: PyTree) -> Model:
    """Make a model of a layer for inputs of a given shape.

    Args:
        layer: a `Layer`, such as `serial` returns.
        inputs: an input batch, or `jax.ShapeDtypeStruct`s of one; the batch size does not matter.

    Returns:
        The model; errors in it name the path of the layer.

    Example:
        >>> net = serial(fc1=linear(12), relu=jax.nn.relu, fc2=linear(1))
        >>> model = build(net, jax.ShapeDtypeStruct((1, 8), jnp.float32))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((10, 8)), train=False)[0].shape
        (10, 1)
    """
    layer = as_layer(layer)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), inputs)
    return make_model(layer.spec(shapes), layer.apply)


def as_layer(function: LayerLike) -> Layer:
    """Return a `Layer` as it is, and a plain function of the inputs as a layer without parameters.

    Example:
        >>> as_layer(jax.nn.relu).name
        'relu'
    """
    if isinstance(function, Layer):
        return function
    if not callable(function):
        raise TypeError(f"expected a Layer or a function of the inputs, got {type(function).__name__}: {function!r}")
    plain: Callable[[Any], Any] = function
    inner = function.func if isinstance(function, functools.partial) else function
    name = getattr(inner, "__name__", type(inner).__name__).strip("<>")

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None, train: bool) -> tuple[Any, State]:
        return plain(inputs), state

    return Layer(name, lambda inputs: {}, apply)


def _outputs(layer: Layer, spec: Spec, inputs: Any) -> Any:
    """The shapes that a layer returns for inputs of given shapes."""

    def run(key: Key, inputs: Any) -> Any:
        params, state = init(spec, key)
        return layer.apply(params, state, inputs, key=key, train=True)[0]

    return jax.eval_shape(run, jax.random.key(0), inputs)


def serial(*layers: LayerLike, **named: LayerLike) -> Layer:
    """Run layers one after the other: $y = f_n(... f_2(f_1(x)))$.

    Args:
        *layers: layers or plain functions. The first linear layer is named `linear1`, the second `linear2`, ...
        **named: layers with names of their own, after the others. A layer's name decides its initial values, so named
            layers keep theirs when others are added.

    Returns:
        A layer with the parameters `{name: ...}`.

    Example:
        >>> net = serial(conv(8, (3, 3)), jax.nn.relu, nn.global_avg_pool, linear(10))
        >>> sorted(net.spec(jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)))
        ['conv1', 'global_avg_pool1', 'linear1', 'relu1']
    """
    children = _children(layers, named)

    def spec(inputs: Any) -> Spec:
        specs = {}
        for name, child in children.items():
            specs[name] = child.spec(inputs)
            inputs = _outputs(child, specs[name], inputs)
        return specs

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None, train: bool) -> tuple[Any, State]:
        new_state = {}
        for name, child in children.items():
            inputs, child_state = _run(child, name, params, state, inputs, key, train)
            if name in state:
                new_state[name] = child_state
        return inputs, new_state

    return Layer("serial", spec, apply)


def residual(layer: LayerLike, shortcut: LayerLike | None = None) -> Layer:
    """Add a layer's result to its input: $y = s(x) + f(x)$, where s is the identity unless a shortcut is given.

    Args:
        layer: f, named `body`.
        shortcut: s, named `shortcut`, where f changes the shape.

    Returns:
        A layer with the parameters `{"body": ..., "shortcut": ...}`.

    Raises:
        ValueError: if f(x) and s(x) differ in shape.

    Example:
        >>> net = residual(serial(linear(8), jax.nn.relu, linear(8)))
        >>> model = build(net, jnp.ones((1, 8)))
        >>> model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 8)), train=False)[0].shape
        (2, 8)

    Reference:
        He et al., Deep residual learning for image recognition, 2015.
    """
    children = {"body": as_layer(layer)} | ({} if shortcut is None else {"shortcut": as_layer(shortcut)})

    def add(results: list[Any]) -> Array:
        body, identity = results
        if body.shape != identity.shape:
            raise ValueError(
                f"residual: the layer returned {list(body.shape)} where x has {list(identity.shape)}; "
                "pass shortcut=linear(...) or shortcut=conv(...) that makes them equal"
            )
        added: Array = body + identity
        return added

    return _parallel("residual", children, add, keep_input=shortcut is None)


def branch(*layers: LayerLike, combine: Callable[[list[Any]], Any] | None = None, **named: LayerLike) -> Layer:
    """Run layers side by side on the same input and combine their results.

    Args:
        *layers: layers or plain functions, named as by `serial`.
        combine: a function of the list of results; by default they are concatenated along the last axis.
        **named: layers with names of their own.

    Returns:
        A layer with the parameters `{name: ...}`.

    Example:
        >>> net = branch(linear(3), linear(5))
        >>> model = build(net, jnp.ones((1, 8)))
        >>> model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 8)), train=False)[0].shape
        (2, 8)
    """
    return _parallel("branch", _children(layers, named), combine or (lambda results: jnp.concatenate(results, -1)))


def repeat(layer: LayerLike, count: int, *, remat: bool = False) -> Layer:
    """Run `count` copies of a layer with parameters of their own, compiled once (see `jaxnets.repeat`).

    Args:
        layer: a layer whose result has the shape of its input.
        count: how many copies.
        remat: compute the inside of each copy again in the backward pass, which saves memory.

    Returns:
        A layer whose arrays have shape `[count, ...]`.

    Example:
        >>> model = build(repeat(serial(fc=linear(8), relu=jax.nn.relu), 3), jnp.ones((1, 8)))
        >>> model.init(jax.random.key(0))[0]["fc"]["kernel"].shape
        (3, 8, 8)
    """
    child = as_layer(layer)

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None, train: bool) -> tuple[Any, State]:
        def block(params: Params, state: State, x: Any, *, key: Key | None = None) -> tuple[Any, State]:
            return child.apply(params, state, x, key=key, train=train)

        def stateless(params: Params, x: Any, *, key: Key | None = None) -> Any:
            return child.apply(params, {}, x, key=key, train=train)[0]

        if not jax.tree.leaves((params, state)):
            for index in range(count):
                inputs = stateless(params, inputs, key=subkey(key, index))
            return inputs, state
        if not jax.tree.leaves(state):
            return run_repeated(stateless, params, inputs, key=key, remat=remat), state
        result: tuple[Any, State] = run_repeated(block, params, inputs, state=state, key=key, remat=remat)
        return result

    return Layer(f"repeated_{child.name}", lambda inputs: repeat_spec(child.spec(inputs), count), apply)


def _children(layers: Sequence[LayerLike], named: dict[str, LayerLike]) -> dict[str, Layer]:
    counts: Counter[str] = Counter()
    children = {}
    for child in map(as_layer, layers):
        counts[child.name] += 1
        children[f"{child.name}{counts[child.name]}"] = child
    clashes = sorted(children.keys() & named.keys())
    if clashes:
        raise ValueError(f"the names {clashes} are taken by unnamed layers; choose others")
    return children | {name: as_layer(child) for name, child in named.items()}


def _run(
    child: Layer, name: str, params: Params, state: State, inputs: Any, key: Key | None, train: bool
) -> tuple[Any, State]:
    return child.apply(params[name], state.get(name, {}), inputs, key=subkey(key, name), train=train)


def _parallel(
    name: str, children: dict[str, Layer], combine: Callable[[list[Any]], Any], keep_input: bool = False
) -> Layer:
    def apply(params: Params, state: State, inputs: Any, *, key: Key | None, train: bool) -> tuple[Any, State]:
        pairs = {child: _run(layer, child, params, state, inputs, key, train) for child, layer in children.items()}
        results = [result for result, _ in pairs.values()] + ([inputs] if keep_input else [])
        return combine(results), {child: new for child, (_, new) in pairs.items() if child in state}

    return Layer(name, lambda inputs: {child: layer.spec(inputs) for child, layer in children.items()}, apply)


def linear(features: int, **settings: Any) -> Layer:
    """A linear layer with `features` outputs; settings are those of `nn.linear_spec`.

    Example:
        >>> linear(10, bias=False).spec(jnp.ones((1, 4)))["kernel"].shape
        (4, 10)
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.linear(params, x), state

    return Layer("linear", lambda x: nn.linear_spec(x.shape[-1], features, **settings), apply)


def conv(
    features: int,
    kernel_size: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    **settings: Any,
) -> Layer:
    """A convolution with `features` outputs; other settings are those of `nn.conv_spec`.

    Example:
        >>> conv(32, (3, 3)).spec(jnp.ones((1, 28, 28, 1)))["kernel"].shape
        (3, 3, 1, 32)
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.conv(params, x, stride=stride, padding=padding, dilation=dilation), state

    return Layer("conv", lambda x: nn.conv_spec(x.shape[-1], features, kernel_size, **settings), apply)


def embedding(vocabulary: int, features: int, **settings: Any) -> Layer:
    """An embedding of integers below `vocabulary`; settings are those of `nn.embedding_spec`.

    Example:
        >>> embedding(100, 8).spec(None)["embedding"].shape
        (100, 8)
    """

    def apply(params: Params, state: State, ids: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.embedding(params, ids), state

    return Layer("embedding", lambda ids: nn.embedding_spec(vocabulary, features, **settings), apply)


def batch_norm(**settings: Any) -> Layer:
    """Batch normalization; settings are those of `nn.batch_norm`.

    Example:
        >>> sorted(batch_norm().spec(jnp.ones((1, 4))))
        ['bias', 'count', 'mean', 'scale', 'variance']
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.batch_norm(params, state, x, train=train, **settings)

    return Layer("batch_norm", lambda x: nn.batch_norm_spec(x.shape[-1]), apply)


def layer_norm(**settings: Any) -> Layer:
    """Layer normalization; settings are those of `nn.layer_norm`.

    Example:
        >>> sorted(layer_norm().spec(jnp.ones((1, 4))))
        ['bias', 'scale']
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.layer_norm(params, x, **settings), state

    return Layer("layer_norm", lambda x: nn.layer_norm_spec(x.shape[-1]), apply)


def dropout(rate: float) -> Layer:
    """Dropout with probability `rate` to drop.

    Example:
        >>> dropout(0.5).name
        'dropout'
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return nn.dropout(x, rate, key=key, train=train), state

    return Layer("dropout", lambda x: {}, apply)


def flatten(x: Array) -> Array:
    """Reshape `[batch, ...]` to `[batch, features]`.

    Example:
        >>> flatten(jnp.ones((2, 3, 4))).shape
        (2, 12)
    """
    return x.reshape((x.shape[0], math.prod(x.shape[1:])))  # -1 would be ambiguous for no example


def cast(dtype: DTypeLike) -> Layer:
    """Convert the input to `dtype`, such as `jnp.bfloat16`: the layers after it compute in that precision.

    Example:
        >>> build(cast(jnp.bfloat16), jnp.ones(3)).apply({}, {}, jnp.ones(3), train=False)[0].dtype
        dtype(bfloat16)
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None, train: bool) -> tuple[Array, State]:
        return x.astype(dtype), state

    return Layer("cast", lambda x: {}, apply)
