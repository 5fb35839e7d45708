"""Errors that name the path of the layer."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import pytest

from jaxnets import init, make_model, nn, repeat, repeat_spec
from jaxnets.training import compute_in

KEY = jax.random.key(0)


def two_blocks(fail_at):
    """A model of nested blocks in which one layer gets an input that does not fit."""
    spec = {"block": [{"fc": nn.linear_spec(4, 4)}, {"fc": nn.linear_spec(4, 4)}], "head": nn.linear_spec(4, 2)}

    def apply(params, state, x, *, key=None, train):
        for i, block in enumerate(params["block"]):
            x = nn.linear(block["fc"], x[..., :3] if fail_at == i else x)
        return nn.linear(params["head"], x[..., :3] if fail_at == "head" else x), state

    return make_model(spec, apply)


@pytest.mark.parametrize(("fail_at", "path"), [(0, "block/0/fc"), (1, "block/1/fc"), ("head", "head")])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.grad, jax.checkpoint])
def test_the_error_of_a_model_names_the_layer(fail_at, path, transform):
    model = two_blocks(fail_at)
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="last axis must be 4") as caught:
        transform(lambda p: jnp.sum(model.apply(p, state, jnp.ones((2, 4)), train=False)[0]))(params)
    assert f"in layer '{path}'" in caught.value.__notes__


def test_a_model_inside_a_model_gives_one_whole_path():
    inner = two_blocks(1)

    def apply(params, state, x, *, key=None, train):
        return inner.apply(params["encoder"], state, x, train=train)

    params, state = inner.init(KEY)
    outer = make_model({}, apply)
    with pytest.raises(ValueError, match="last axis must be 4") as caught:
        outer.apply({"encoder": params}, state, jnp.ones((2, 4)), train=False)
    assert [note for note in caught.value.__notes__ if "in layer" in note] == ["in layer 'encoder/block/1/fc'"]


PARAMS = {"fc": {"kernel": jnp.ones((8, 8)), "bias": jnp.ones(8)}}


@pytest.mark.parametrize(
    "apply",
    [
        lambda p, x: nn.linear(p["fc"], x),
        jax.checkpoint(lambda p, x: nn.linear(p["fc"], x)),
        jax.jit(lambda p, x: nn.linear(p["fc"], x)),
        lambda p, x: jax.vmap(lambda row: nn.linear(p["fc"], row))(x),
        lambda p, x: jax.vmap(lambda q: nn.linear(q["fc"], x))(jax.tree.map(lambda a: a[None], p)),
        lambda p, x: nn.linear(jax.tree.map(lambda a: a.astype(jnp.bfloat16), p)["fc"], x),
        lambda p, x: jax.lax.scan(lambda c, _: (nn.linear(p["fc"], c), None), x, length=2)[0],
        lambda p, x: jax.jit(jax.checkpoint(lambda q: nn.linear(q["fc"], x)))(jax.tree.map(jnp.sin, p)),
    ],
    ids=["plain", "checkpoint", "jit", "vmap of x", "vmap of params", "cast", "scan", "jit of checkpoint of changed"],
)
def test_the_path_survives_transformations_inside_the_model(apply):
    model = make_model({}, lambda params, state, x, *, key=None, train: (apply(params, x), state))
    for cast in (lambda model: model, functools.partial(compute_in, jnp.bfloat16)):
        with pytest.raises(ValueError, match="linear: last axis must be 8") as caught:
            cast(model).apply(PARAMS, {}, jnp.ones((4, 9)), train=True)
        assert [note for note in caught.value.__notes__ if "layer" in note] == ["in layer 'fc'"]


def test_an_error_that_the_model_handled_names_nothing():
    def apply(params, state, x, *, key=None, train):
        with contextlib.suppress(ValueError):
            nn.linear(params["fc"], x)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        make_model({}, apply).apply(PARAMS, {}, jnp.ones((4, 9)), train=True)
    assert not hasattr(caught.value, "__notes__")


def test_repeated_blocks_are_named_too():
    params, _ = init({"tower": repeat_spec({"fc": nn.linear_spec(4, 4)}, 2)}, KEY)

    def block(params, x):
        return nn.linear(params["fc"], x[..., :3])

    model = make_model({}, lambda p, s, x, *, key=None, train: (repeat(block, p["tower"], x), s))
    with pytest.raises(ValueError, match="last axis must be 4") as caught:
        model.apply(params, {}, jnp.ones((2, 4)), train=False)
    assert "in layer 'tower/fc'" in caught.value.__notes__


def test_missing_parameters_are_listed():
    with pytest.raises(ValueError, match=r"linear: params have no 'kernel', they hold \['bias', 'scale'\]"):
        nn.linear({"scale": jnp.ones(3), "bias": jnp.ones(3)}, jnp.ones((2, 3)))


def test_errors_outside_layers_stay_as_they_are():
    def apply(params, state, x, *, key=None, train):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        make_model({}, apply).apply({}, {}, 1, train=False)
    assert not hasattr(caught.value, "__notes__")
