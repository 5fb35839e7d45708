"""The derivative of a cell run over a sequence against that of `jax.lax.scan`, under every transformation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.kernels import cell_program
from tests.forms import float64
from tests.oracles import assert_close, normal

BATCH, TIME, IN, HIDDEN = 2, 4, 3, 2
MASK = np.array([[True, True, False, True], [False, True, True, False]])
gelu_cell = functools.partial(nn.simple_rnn_cell, activation=jax.nn.gelu)
LAYERS = {
    "lstm": (nn.lstm, nn.lstm_cell, nn.lstm_spec),
    "gru": (nn.gru, nn.gru_cell, nn.gru_spec),
    "simple_rnn": (functools.partial(nn.simple_rnn, activation=jax.nn.gelu), gelu_cell, nn.simple_rnn_spec),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def double_precision():
    with float64():
        yield


def scan(cell, params, x, *, carry, mask=None, reverse=False):
    """What a recurrent layer is, in a plain scan."""

    def step(carry, items):
        x, real = items
        new, y = cell(params, carry, x)

        def choose(new, old):
            return new if new.ndim == 0 else jnp.where(real.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return jax.tree.map(choose, new, carry), jnp.where(real.reshape(-1, *[1] * (y.ndim - 1)), y, 0)

    real = jnp.ones(x.shape[:2], bool) if mask is None else jnp.asarray(mask)
    carry, y = jax.lax.scan(step, carry, (jnp.moveaxis(x, 1, 0), real.T), reverse=reverse)
    return jnp.moveaxis(y, 0, 1), carry


def arguments(name, seed=0):
    generator = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(0.7 * generator.normal(size=leaf.shape)), LAYERS[name][2](IN, HIDDEN)
    )
    hidden, cell = (jnp.asarray(generator.normal(size=(BATCH, HIDDEN))) for _ in range(2))
    x = jnp.asarray(generator.normal(size=(BATCH, TIME, IN)))
    return params, x, nn.LSTMCarry(hidden, cell) if name == "lstm" else hidden


def loss_of(sequence, **settings):
    def loss(params, x, carry):
        results = sequence(params, x, carry=carry, **settings)
        floating = [leaf for leaf in jax.tree.leaves(results) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum(jnp.vdot(jnp.sin(leaf), jnp.arange(1.0, 1 + leaf.size).reshape(leaf.shape)) for leaf in floating)

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


def descent(loss):
    """Three steps of gradient descent in one scan."""

    def run(*args):
        def descend(args, _):
            value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(*args)
            return jax.tree.map(lambda a, g: a - 0.1 * g, args, gradients), value

        return jax.lax.scan(descend, args, length=3)

    return run


def assert_same_as_scan(transform, name, *args, **settings):
    layer, cell, _ = LAYERS[name]
    losses = loss_of(layer, **settings), loss_of(functools.partial(scan, cell), **settings)
    assert_close(*(jax.jit(transform(loss))(*args) for loss in losses), rtol=1e-9, atol=1e-11)


TRANSFORMATIONS = [
    gradient,
    jvp,
    vmap_of_gradient,
    vmap_over_params_of_gradient,
    forward_over_reverse,
    reverse_over_reverse,
    reverse_over_forward,
    checkpoint,
    descent,
]


@pytest.mark.parametrize(
    ("name", "transform"),
    [("lstm", transform) for transform in TRANSFORMATIONS]
    + [(name, transform) for name in ("gru", "simple_rnn") for transform in (vmap_of_gradient, reverse_over_reverse)],
)
def test_transformations_agree_with_a_scan(name, transform):
    assert_same_as_scan(transform, name, *arguments(name), mask=MASK)


@pytest.mark.parametrize(
    ("name", "early", "mask", "reverse"),
    [
        ("lstm", False, None, False),
        ("lstm", True, MASK, True),
        ("gru", False, None, True),
        ("gru", True, MASK, False),
        ("simple_rnn", True, None, True),
        ("simple_rnn", False, MASK, True),
    ],
)
def test_settings_agree_with_a_scan(monkeypatch, name, early, mask, reverse):
    monkeypatch.setattr(cell_program, "_CACHE_BYTES", 0 if early else 2**30)
    jax.clear_caches()
    assert_same_as_scan(gradient, name, *arguments(name), mask=mask, reverse=reverse)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("lstm", argument) for argument in ("x", "carry", "input_kernel", "hidden_kernel", "bias")]
    + [("gru", "hidden_bias")],
)
def test_gradients_of_one_argument_alone(name, argument):
    """What is not differentiated has symbolic zeros for tangents."""
    params, x, carry = arguments(name)

    def of_one(loss):
        def with_value(value):
            if argument in params:
                return loss(params | {argument: value}, x, carry)
            return loss(params, value, carry) if argument == "x" else loss(params, x, value)

        return lambda params, x, carry: jax.grad(with_value)({"x": x, "carry": carry, **params}[argument])

    assert_same_as_scan(of_one, name, params, x, carry, mask=MASK)


@every_layer
def test_gradients_of_a_long_sequence_agree_with_differences(name):
    """An oracle that shares no code: central differences along a random direction of everything."""
    params, _, carry = arguments(name)
    x = jnp.asarray(normal(BATCH, 40, IN, dtype=np.float64))
    loss = jax.jit(loss_of(LAYERS[name][0]))
    args = (params, x, carry)
    generator = np.random.default_rng(1)
    direction = jax.tree.map(lambda a: jnp.asarray(generator.normal(size=a.shape)), args)
    step = 1e-6
    up, down = (loss(*jax.tree.map(lambda a, d, s=s: a + s * d, args, direction)) for s in (step, -step))
    slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient(loss)(*args), direction)))
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize(("length", "batch"), [(0, 2), (1, 2), (3, 0)])
def test_empty_and_single_axes(length, batch):
    params, _, _ = arguments("gru")
    x = jnp.asarray(normal(batch, length, IN, dtype=np.float64))
    carry = jnp.asarray(normal(batch, HIDDEN, dtype=np.float64))
    assert_same_as_scan(gradient, "gru", params, x, carry)


def peephole_lstm(params, carry, x):
    """Gers, Schmidhuber, 2000: weights that multiply what is not linear."""
    hidden, cell = carry
    i, f, g, o = jnp.split(x @ params["w"] + hidden @ params["u"] + params["b"][None], 4, axis=-1)
    i, f = (jax.nn.sigmoid(gate + params["p"][k][None] * cell) for k, gate in enumerate((i, f)))
    cell = f * cell + i * jnp.tanh(g)
    hidden = jax.nn.sigmoid(o + params["p"][2][None] * cell) * jnp.tanh(cell)
    return (hidden, cell), hidden


def minimal_gated_unit(params, hidden, x):
    """Zhou et al., 2016: a product after what is not linear. One kernel is computed of parameters."""
    w, u = params["w"], jnp.tanh(params["u"])
    f = jax.nn.sigmoid(jnp.concatenate([x, hidden], axis=-1) @ w[:, :HIDDEN])
    new = jnp.tanh(x @ w[:IN, HIDDEN : 2 * HIDDEN] + (f * hidden) @ u[:, :HIDDEN])
    hidden = (1 - f) * hidden + f * new
    return hidden, new**2


@jax.jit
def low_rank_relu(params, hidden, x):
    """Jitted, with a function that has a derivative of its own, a product of the carry, and weights used twice."""
    z = x @ params["w"][:, :HIDDEN] + hidden @ params["u"][:, :1] @ params["u"][:1, :HIDDEN]
    hidden = jax.nn.relu(z) + z * z + jax.nn.softmax(hidden @ hidden.T) @ hidden + jnp.exp(params["b"][:HIDDEN])[None]
    return hidden, hidden @ params["u"][:, :HIDDEN]


def counting_and_noise(params, carry, x):
    """A counter and a random key in the carry, x outside of products, and loops inside."""
    state, count, key = carry
    key, now = jax.random.split(key)
    kept = jnp.where(jax.random.bernoulli(now, 0.7, state.shape), state * x[:, :HIDDEN], params["b"][None, :HIDDEN])
    state, _ = jax.lax.scan(lambda s, row: (jnp.tanh(s + row[None]), None), kept, params["p"][:, :HIDDEN])
    state = jax.lax.cond(now[0] > 2**31, jnp.sin, jnp.cos, state) + x @ params["w"][:, :HIDDEN]
    return (state, count + 1, key), state * count[:, None].astype(state.dtype)


def convolutional(params, hidden, x):
    """Products that are convolutions, along the hidden axis, and a carry that is also a sum."""
    convolve = functools.partial(
        jax.lax.conv_general_dilated, window_strides=(1,), padding="SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    row = x[:, :HIDDEN, None]
    z = convolve(hidden, params["u"][0, :3, None, None]) + convolve(row, params["w"][:, 0, None, None])
    return hidden + z, jnp.tanh(z)[..., 0]


CELLS = {
    "peephole_lstm": (peephole_lstm, lambda state: (state, 2 * state)),
    "minimal_gated_unit": (minimal_gated_unit, lambda state: state),
    "low_rank_relu": (low_rank_relu, lambda state: state),
    "counting_and_noise": (
        counting_and_noise,
        lambda state: (state, jnp.zeros(BATCH, jnp.int32), jax.random.PRNGKey(0)),
    ),
    "convolutional": (convolutional, lambda state: state[..., None]),
}


@pytest.mark.parametrize("name", CELLS)
def test_any_cell_agrees_with_a_scan(name):
    """Gradients and how they change, which takes all rules twice."""
    cell, carry_of = CELLS[name]
    shapes = {"w": (IN + HIDDEN, 4 * HIDDEN), "u": (HIDDEN, 4 * HIDDEN), "b": (4 * HIDDEN,), "p": (3, HIDDEN)}
    shapes["w"] = shapes["w"] if name == "minimal_gated_unit" else (IN, 4 * HIDDEN)
    params = {key: jnp.asarray(0.7 * normal(*shape, seed=i)) for i, (key, shape) in enumerate(shapes.items())}
    params, x, state = jax.tree.map(
        lambda a: jnp.asarray(a, jnp.float64), (params, normal(BATCH, TIME, IN), normal(BATCH, HIDDEN, seed=9))
    )
    mask = None if name == "counting_and_noise" else MASK  # the key has no axis for sequences

    def loss(sequence):
        return loss_of(lambda params, x, *, carry: sequence(cell, params, x, carry=carry_of(carry), mask=mask))

    results = [jax.jit(forward_over_reverse(loss(sequence)))(params, x, state) for sequence in (nn.recurrent, scan)]
    assert_close(*results, rtol=1e-9, atol=1e-11)


def test_closed_over_arrays_are_differentiated():
    params, x, carry = arguments("simple_rnn")

    def sequences(slope):
        def activation(v):
            return slope * jnp.tanh(v)

        cell = functools.partial(nn.simple_rnn_cell, activation=activation)
        yield nn.simple_rnn(params, x, carry=carry, activation=activation)[0].sum()
        yield nn.recurrent(cell, params, x, carry=carry)[0].sum()
        yield scan(cell, params, x, carry=carry)[0].sum()

    def results(slope):
        return jnp.stack(list(sequences(slope)))

    @jax.jit
    def transformed(slope):
        return [
            transform(results)(slope) for transform in (lambda f: f, jax.jacrev, lambda f: jax.jacfwd(jax.jacrev(f)))
        ]

    mapped = jax.vmap(transformed)(jnp.array([0.5, 1.0]))
    for layer, any_cell, expected in (*np.concatenate(mapped), *transformed(0.5)):
        np.testing.assert_allclose([layer, any_cell], [expected] * 2, rtol=1e-10)


def test_a_cell_without_forward_mode_is_scanned():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, dy: (2 * dy,))

    def cell(params, carry, x, double=double):
        return jnp.tanh(double(carry) + params * x), carry

    args = jnp.array(0.3), jnp.asarray(normal(BATCH, TIME, IN, dtype=np.float64)), jnp.zeros((BATCH, IN))
    plain = functools.partial(scan, functools.partial(cell, double=lambda x: 2 * x))
    losses = [loss_of(sequence) for sequence in (functools.partial(nn.recurrent, cell), plain)]
    assert_close(*(gradient(loss)(*args) for loss in losses), rtol=1e-9, atol=1e-11)


def test_what_a_cell_does_besides_happens_at_every_step():
    seen = []

    def cell(params, carry, x):
        jax.debug.callback(lambda total: seen.append(float(total)), carry.sum(), ordered=True)
        return carry + x, carry

    nn.recurrent(cell, {}, jnp.ones((1, 3, 1)), carry=jnp.zeros((1, 1)))
    jax.effects_barrier()
    assert seen == [0, 1, 2]


@every_layer
def test_gradients_of_bfloat16_are_summed_in_float32(name):
    """The kernels and biases are 0, so that all steps are the same: their number is what the gradient is in float32."""
    _, cell, spec = LAYERS[name]
    x = jnp.ones((1, 4096, 1), jnp.bfloat16)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), spec(1, 1))
    zeros = jnp.zeros((1, 1), jnp.float32)
    carry = nn.LSTMCarry(zeros, zeros) if name == "lstm" else zeros

    def loss(sequence, params, x, **settings):
        return sequence(params, x, **settings)[0].astype(jnp.float32).sum()

    wide = jax.grad(functools.partial(loss, functools.partial(scan, cell)))(
        jax.tree.map(lambda a: a.astype(jnp.float32), params), x.astype(jnp.float32), carry=carry
    )
    for sequence in (LAYERS[name][0], functools.partial(nn.recurrent, cell, carry=carry)):
        half = jax.grad(functools.partial(loss, sequence))(params, x)
        assert_close(jax.tree.map(lambda a: a.astype(jnp.float32), half), wide, rtol=0.02, atol=0.02)


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


def products_in_loops(loss, *args):
    program = jax.make_jaxpr(gradient(loss))(*args)
    return sum(inside and equation.primitive.name == "dot_general" for equation, inside in equations(program.jaxpr))


@every_layer
def test_one_product_a_step_on_the_way_back(name):
    """What makes it fast: two products a step forward and one back, where a scan has two and four."""
    layer, cell, _ = LAYERS[name]
    args = arguments(name)
    assert products_in_loops(loss_of(layer), *args) == 3
    assert products_in_loops(loss_of(functools.partial(nn.recurrent, cell)), *args) == 3
    assert products_in_loops(loss_of(functools.partial(scan, cell)), *args) == 6


@every_layer
def test_the_gradient_of_the_bias_is_a_product(name):
    """XLA on CPU can be 17 times slower at a sum over all steps and sequences."""
    params, x, carry = arguments(name)
    program = jax.make_jaxpr(gradient(loss_of(LAYERS[name][0])))(params, x, carry)
    columns = params["bias"].size
    sums = [
        equation.invars[0].aval.shape
        for equation, _ in equations(program.jaxpr)
        if equation.primitive.name == "reduce_sum"
    ]
    assert (TIME, BATCH, columns) not in sums, sums
