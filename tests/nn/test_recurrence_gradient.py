"""The fast derivative of recurrent sequences against that of the plain scan, under every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.nn import recurrence_gradient
from tests.forms import switch_off, trace_for
from tests.oracles import assert_close, normal

BATCH, TIME, IN, HIDDEN = 2, 4, 3, 2
MASK = np.array([[True, True, False, True], [False, True, True, False]])
SEQUENCES = {
    "lstm": (nn.lstm, nn.lstm_spec),
    "gru": (nn.gru, nn.gru_spec),
    "simple_rnn": (functools.partial(nn.simple_rnn, activation=jax.nn.gelu), nn.simple_rnn_spec),
}
every_kind = pytest.mark.parametrize("kind", SEQUENCES)


@pytest.fixture(autouse=True)
def double_precision(monkeypatch):
    switch_off(monkeypatch, "")
    trace_for(monkeypatch, "cpu")
    with jax.enable_x64(True):
        yield


def arguments(kind, seed=0):
    spec = SEQUENCES[kind][1](IN, HIDDEN)
    generator = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.7 * generator.normal(size=leaf.shape)), spec)
    hidden, cell = (jnp.asarray(generator.normal(size=(BATCH, HIDDEN))) for _ in range(2))
    x = jnp.asarray(generator.normal(size=(BATCH, TIME, IN)))
    return params, x, nn.LSTMCarry(hidden, cell) if kind == "lstm" else hidden


def loss_of(kind, mask=MASK, reverse=False):
    def loss(params, x, carry):
        results = SEQUENCES[kind][0](params, x, carry=carry, mask=mask, reverse=reverse)
        weight = jnp.arange(1.0, 1.0 + HIDDEN)
        return sum(jnp.sum(jnp.sin(leaf) * weight.reshape((1,) * (leaf.ndim - 1) + (-1,)))
                   for leaf in jax.tree.leaves(results))  # fmt: skip

    return loss


def gradient(loss):
    return jax.grad(loss, argnums=(0, 1, 2))


def jvp(loss):
    return lambda *args: jax.jvp(loss, args, jax.tree.map(jnp.cos, args))


def vmap_of_gradient(loss):
    return lambda *args: jax.vmap(gradient(loss))(*jax.tree.map(lambda a: jnp.stack([a, 0.5 * a, -a]), args))


def vmap_over_params_of_gradient(loss):
    def run(params, x, carry):
        stacked = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), params)
        return jax.vmap(gradient(loss), in_axes=(0, None, None))(stacked, x, carry)

    return run


def forward_over_reverse(loss):
    return lambda *args: jax.jvp(gradient(loss), args, jax.tree.map(jnp.cos, args))


def reverse_over_reverse(loss):
    def scalar(*args):
        gradients = jax.tree.leaves(gradient(loss)(*args))
        return sum(jnp.vdot(jnp.cos(a), g) for a, g in zip(jax.tree.leaves(args), gradients, strict=True))

    return gradient(scalar)


def reverse_over_forward(loss):
    return gradient(lambda *args: jvp(loss)(*args)[1])


def checkpoint(loss):
    return gradient(jax.checkpoint(loss))


def scan(loss):
    """Three steps of gradient descent in one scan."""

    def run(*args):
        def descend(args, _):
            value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(*args)
            return jax.tree.map(lambda a, g: a - 0.1 * g, args, gradients), value

        return jax.lax.scan(descend, args, length=3)

    return run


def assert_same_as_plain(monkeypatch, transform, kind, *args, **settings):
    fast = jax.jit(transform(loss_of(kind, **settings)))(*args)
    switch_off(monkeypatch, kind)
    plain = jax.jit(transform(loss_of(kind, **settings)))(*args)
    assert_close(fast, plain, rtol=1e-9, atol=1e-11)


TRANSFORMATIONS = [
    gradient,
    jvp,
    vmap_of_gradient,
    vmap_over_params_of_gradient,
    forward_over_reverse,
    reverse_over_reverse,
    reverse_over_forward,
    checkpoint,
    scan,
]


@pytest.mark.parametrize(
    ("kind", "transform"),
    [("lstm", transform) for transform in TRANSFORMATIONS]
    + [(kind, transform) for kind in ("gru", "simple_rnn") for transform in (vmap_of_gradient, reverse_over_reverse)],
)
def test_transformations_agree_with_the_plain_scan(monkeypatch, kind, transform):
    assert_same_as_plain(monkeypatch, transform, kind, *arguments(kind))


@pytest.mark.parametrize(
    ("kind", "at_once", "mask", "reverse"),
    [
        ("lstm", False, None, False),
        ("lstm", True, MASK, True),
        ("gru", False, None, True),
        ("gru", True, MASK, False),
        ("simple_rnn", True, None, True),
        ("simple_rnn", False, MASK, True),
    ],
)
def test_settings_agree_with_the_plain_scan(monkeypatch, kind, at_once, mask, reverse):
    monkeypatch.setattr(recurrence_gradient, "_CACHE_BYTES", 0 if at_once else 2**30)
    assert_same_as_plain(monkeypatch, gradient, kind, *arguments(kind), mask=mask, reverse=reverse)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("lstm", name) for name in ("x", "carry", "input_kernel", "hidden_kernel", "bias")] + [("gru", "hidden_bias")],
)
def test_gradients_of_one_argument_alone(monkeypatch, kind, name):
    """What is not differentiated has symbolic zeros for tangents."""
    params, x, carry = arguments(kind)

    def of_one(loss):
        def with_value(value):
            if name in params:
                return loss(params | {name: value}, x, carry)
            return loss(params, value, carry) if name == "x" else loss(params, x, value)

        return lambda params, x, carry: jax.grad(with_value)({"x": x, "carry": carry, **params}[name])

    assert_same_as_plain(monkeypatch, of_one, kind, params, x, carry)


@every_kind
def test_jacobian_of_a_long_sequence_agrees_with_differences(kind):
    """An oracle that shares no code: central differences along a random direction of everything."""
    params, _, carry = arguments(kind)
    x = jnp.asarray(normal(BATCH, 40, IN, dtype=np.float64))
    loss = jax.jit(loss_of(kind, mask=None))
    args = (params, x, carry)
    generator = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: jnp.asarray(generator.normal(size=a.shape)), args)
    step = 1e-6
    up, down = (loss(*jax.tree.map(lambda a, d, s=s: a + s * d, args, direction)) for s in (step, -step))
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient(loss)(*args), direction)))
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(("length", "leading"), [(0, (2,)), (1, (2,)), (3, (0,)), (3, ())])
def test_empty_and_single_axes(monkeypatch, length, leading):
    params, _, _ = arguments("gru")
    x = jnp.asarray(normal(*leading, length, IN, dtype=np.float64))
    carry = jnp.asarray(normal(*leading, HIDDEN, dtype=np.float64))
    assert_same_as_plain(monkeypatch, gradient, "gru", params, x, carry, mask=None)


def equations(jaxpr, inside=False):
    """Each equation of a program, and whether it is inside a loop."""
    for equation in jaxpr.eqns:
        yield equation, inside
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner, inside or equation.primitive.name == "scan")


def products_in_loops(jaxpr):
    return sum(inside and equation.primitive.name == "dot_general" for equation, inside in equations(jaxpr))


@every_kind
def test_one_product_a_step_on_the_way_back(monkeypatch, kind):
    """What makes it fast: two products a step forward and one back, where a plain scan has two and four."""
    params, x, carry = arguments(kind)
    program = functools.partial(jax.make_jaxpr(gradient(loss_of(kind))), params, x, carry)
    assert products_in_loops(program().jaxpr) == 3
    switch_off(monkeypatch, kind)
    jax.clear_caches()
    assert products_in_loops(jax.make_jaxpr(gradient(loss_of(kind)))(params, x, carry).jaxpr) == 6


@every_kind
def test_the_gradient_of_the_bias_is_a_product(kind):
    """XLA on CPU can be 17 times slower at a sum over all steps and sequences."""
    params, x, carry = arguments(kind)
    program = jax.make_jaxpr(gradient(loss_of(kind, mask=None)))(params, x, carry)
    columns = params["bias"].size
    sums = [
        equation.invars[0].aval.shape
        for equation, _ in equations(program.jaxpr)
        if equation.primitive.name == "reduce_sum"
    ]
    assert (TIME, BATCH, columns) not in sums, sums
