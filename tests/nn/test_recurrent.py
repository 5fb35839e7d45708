"""Recurrent layers against PyTorch: cells, sequences, both directions, stacks and lengths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from jaxnets import init, make_model, nn, torch_defaults
from jaxnets.backend import plain_forms
from tests.oracles import assert_close, normal
from tests.torch_oracle import assert_parity

BATCH, TIME, IN, HIDDEN = 3, 5, 4, 2
KINDS = {
    "simple_rnn": (nn.simple_rnn, nn.simple_rnn_cell, nn.simple_rnn_spec, torch.nn.RNN, torch.nn.RNNCell),
    "lstm": (nn.lstm, nn.lstm_cell, nn.lstm_spec, torch.nn.LSTM, torch.nn.LSTMCell),
    "gru": (nn.gru, nn.gru_cell, nn.gru_spec, torch.nn.GRU, torch.nn.GRUCell),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def random_params(spec, seed=0):
    """Parameters of a size at which gates are neither open nor shut."""
    leaves, structure = jax.tree.flatten(spec)
    return jax.tree.unflatten(structure, [0.6 * normal(*leaf.shape, seed=seed + i) for i, leaf in enumerate(leaves)])


def random_carry(kind, *shape, seed=50):
    hidden = 0.5 * normal(*shape, HIDDEN, seed=seed)
    return nn.LSTMCarry(hidden, normal(*shape, HIDDEN, seed=seed + 1)) if kind == "lstm" else hidden


def torch_weights(params, suffix=""):
    """PyTorch's names for tensors of one layer, so that gradients flow to ours."""
    weights = {f"weight_ih{suffix}": params["input_kernel"].T, f"weight_hh{suffix}": params["hidden_kernel"].T}
    if "bias" in params:
        second = torch.zeros_like(params["bias"])
        if "hidden_bias" in params:
            second = torch.cat([second[: 2 * HIDDEN], params["hidden_bias"]])
        weights |= {f"bias_ih{suffix}": params["bias"], f"bias_hh{suffix}": second}
    return weights


def torch_layers(params):
    """PyTorch's names for a list of layers of one or two directions."""
    weights = {}
    for i, entry in enumerate(params):
        directions = {"forward": "", "backward": "_reverse"} if "forward" in entry else {None: ""}
        for name, suffix in directions.items():
            weights |= torch_weights(entry if name is None else entry[name], f"_l{i}{suffix}")
    return weights


def run_torch(module, weights, x, carry, lengths=None):
    """Call a sequence module, packed if there are lengths; the carry is a tensor or a pair, layers first."""
    if lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    y, end = torch.func.functional_call(module, weights, (x, carry))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=TIME)
    return (y, *end) if isinstance(end, tuple) else (y, end)


def mask_of(lengths):
    return None if lengths is None else np.arange(TIME)[None] < np.array(lengths)[:, None]


@every_kind
@pytest.mark.parametrize("bias", [True, False])
def test_cells_equal_torch(kind, bias):
    _, cell, spec, _, torch_cell = KINDS[kind]
    module = torch_cell(IN, HIDDEN, bias=bias)

    def theirs(params, carry, x):
        result = torch.func.functional_call(module, torch_weights(params), (x, carry))
        return (*result, result[0]) if isinstance(result, tuple) else (result, result)

    assert_parity(
        lambda params, carry, x: jax.tree.leaves(cell(params, carry, x)),
        theirs,
        random_params(spec(IN, HIDDEN, bias=bias)),
        random_carry(kind, BATCH),
        normal(BATCH, IN),
    )


def test_simple_rnn_with_relu_equals_torch():
    module = torch.nn.RNN(IN, HIDDEN, nonlinearity="relu", batch_first=True)
    assert_parity(
        lambda params, x: nn.simple_rnn(params, x, activation=jax.nn.relu)[0],
        lambda params, x: run_torch(module, torch_weights(params, "_l0"), x, None)[0],
        random_params(nn.simple_rnn_spec(IN, HIDDEN)),
        normal(BATCH, TIME, IN),
    )
    cell = torch.nn.RNNCell(IN, HIDDEN, nonlinearity="relu")
    assert_parity(
        lambda params, carry, x: nn.simple_rnn_cell(params, carry, x, activation=jax.nn.relu)[1],
        lambda params, carry, x: torch.func.functional_call(cell, torch_weights(params), (x, carry)),
        random_params(nn.simple_rnn_spec(IN, HIDDEN)),
        random_carry("simple_rnn", BATCH),
        normal(BATCH, IN),
    )


@every_kind
@pytest.mark.parametrize("leading", [(), (BATCH,)])
@pytest.mark.parametrize("bias", [True, False])
def test_sequences_equal_torch(kind, leading, bias):
    sequence, _, spec, torch_layer, _ = KINDS[kind]
    module = torch_layer(IN, HIDDEN, bias=bias, batch_first=True)

    def theirs(params, carry, x):
        carry = jax.tree.map(lambda tensor: tensor[None], carry)
        y, *end = run_torch(module, torch_weights(params, "_l0"), x, tuple(carry) if kind == "lstm" else carry)
        return (y, *(tensor[0] for tensor in end))

    assert_parity(
        lambda params, carry, x: jax.tree.leaves(sequence(params, x, carry=carry)),
        theirs,
        random_params(spec(IN, HIDDEN, bias=bias)),
        random_carry(kind, *leading),
        normal(*leading, TIME, IN),
    )


@every_kind
@pytest.mark.parametrize(
    ("count", "both", "lengths"), [(1, False, (2, 5, 1)), (1, True, (4, 2, 5)), (2, True, (1, 3, 5)), (2, False, None)]
)
def test_stacks_directions_and_lengths_equal_torch(kind, count, both, lengths):
    sequence, _, make_spec, torch_layer, _ = KINDS[kind]
    spec = nn.stacked_spec(make_spec, IN, HIDDEN, count=count, bidirectional=both)
    module = torch_layer(IN, HIDDEN, num_layers=count, bidirectional=both, batch_first=True)
    single = [random_carry(kind, BATCH, seed=50 + i) for i in range(count * (1 + both))]

    def theirs(params, carries, x):
        pairs = [c if isinstance(c, tuple) else (c,) for c in carries]
        carry = tuple(torch.stack(part) for part in zip(*pairs, strict=True))
        return run_torch(module, torch_layers(params), x, carry if kind == "lstm" else carry[0], lengths)

    def ours(params, carries, x):
        layer, start = sequence, carries
        if both:
            layer = functools.partial(nn.bidirectional, sequence)
            start = [{"forward": carries[2 * i], "backward": carries[2 * i + 1]} for i in range(count)]
        y, end = nn.stacked(layer, params, x, carry=start, mask=mask_of(lengths))
        flat = [entry[name] for entry in end for name in ("forward", "backward")] if both else end
        pairs = [c if isinstance(c, tuple) else (c,) for c in flat]
        return (y, *(jnp.stack(part) for part in zip(*pairs, strict=True)))

    assert_parity(ours, theirs, random_params(spec), single, normal(BATCH, TIME, IN))


@functools.cache
def compiled(kind, reverse):
    return jax.jit(functools.partial(KINDS[kind][0], reverse=reverse))


@every_kind
@settings(deadline=None, max_examples=20, derandomize=True)
@given(bits=st.lists(st.booleans(), min_size=BATCH * TIME, max_size=BATCH * TIME), reverse=st.booleans())
def test_masked_steps_are_as_if_they_were_not_there(kind, bits, reverse):
    _, _, spec, torch_layer, _ = KINDS[kind]
    params, carry, x = random_params(spec(IN, HIDDEN)), random_carry(kind, BATCH), normal(BATCH, TIME, IN)
    mask = np.array(bits).reshape(BATCH, TIME)
    padded = np.where(mask[..., None], x, np.nan)
    y, end = compiled(kind, reverse)(params, padded, carry=carry, mask=mask)
    module = torch_layer(IN, HIDDEN, batch_first=True)
    module.load_state_dict(torch_weights(jax.tree.map(torch.tensor, params), "_l0"))
    order = -1 if reverse else 1
    for row in range(BATCH):
        start = jax.tree.map(lambda c, row=row: torch.tensor(c[row])[None], carry)
        expected = start = tuple(start) if kind == "lstm" else start
        if mask[row].any():
            only = torch.tensor(x[row, mask[row]][::order].copy())
            states, expected = module(only, start)
            assert_close(np.asarray(y)[row, mask[row]][::order], states)
        np.testing.assert_array_equal(np.asarray(y)[row, ~mask[row]], 0)
        assert_close(jax.tree.map(lambda c, row=row: c[row][None], end), expected)


@every_kind
@pytest.mark.parametrize("plain", ["", "all"])
def test_padding_that_is_not_a_number_stays_out_of_gradients(kind, plain, enter):
    enter(plain_forms(plain))
    sequence, _, spec, _, _ = KINDS[kind]
    params, x = random_params(spec(IN, HIDDEN)), normal(BATCH, TIME, IN)
    mask = mask_of((2, 5, 3))

    def loss(params, x):
        y, carry = sequence(params, x, mask=mask)
        return sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves((y, carry)))

    clean = jax.grad(loss, (0, 1))(params, np.where(mask[..., None], x, 0).astype(np.float32))
    dirty = jax.grad(loss, (0, 1))(params, np.where(mask[..., None], x, np.nan).astype(np.float32))
    assert_close(dirty, clean, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(dirty[1])[~mask], 0)


@every_kind
def test_steps_after_a_prefix_continue_the_sequence(kind):
    sequence, cell, spec, _, _ = KINDS[kind]
    params, x = random_params(spec(IN, HIDDEN)), normal(BATCH, TIME, IN)
    whole, last = sequence(params, x)
    y, carry = sequence(params, x[:, :2])
    for step in range(2, TIME):
        carry, out = cell(params, carry, x[:, step])
        np.testing.assert_allclose(out, whole[:, step], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y, whole[:, :2], rtol=1e-5, atol=1e-6)
    assert_close(carry, last)


def test_generation_feeds_results_back_in_a_scan():
    """Torch generates with its cell in a Python loop."""
    params, x = random_params(nn.gru_spec(HIDDEN, HIDDEN)), normal(BATCH, HIDDEN)
    _, carry = nn.gru(params, jnp.asarray(x)[:, None])

    def step(state, _):
        carry, y = nn.gru_cell(params, *state)
        return (carry, y), y

    _, generated = jax.lax.scan(step, (carry, carry), length=4)
    module = torch.nn.GRUCell(HIDDEN, HIDDEN)
    module.load_state_dict(torch_weights(jax.tree.map(torch.tensor, params)))
    hidden = y = module(torch.tensor(x))
    for out in generated:
        hidden = y = module(y, hidden)
        assert_close(out, y)


def test_zero_carries_have_the_batch_and_dtype_asked_for():
    params = random_params(nn.lstm_spec(IN, HIDDEN))
    x = normal(2, BATCH, TIME, IN)
    explicit = nn.lstm(params, x, carry=nn.lstm_carry(params, batch=(2, BATCH)))
    jax.tree.map(np.testing.assert_array_equal, explicit, nn.lstm(params, x))
    assert nn.lstm_carry(params, batch=3, dtype=jnp.bfloat16).cell.dtype == jnp.bfloat16
    for kind, carry in (("gru", nn.gru_carry), ("simple_rnn", nn.simple_rnn_carry)):
        assert carry(random_params(KINDS[kind][2](IN, HIDDEN)), batch=()).shape == (HIDDEN,)


@every_kind
@pytest.mark.parametrize("plain", ["", "all"])
def test_bfloat16_carries_are_float32_and_gradients_near_float32(kind, plain, enter):
    enter(plain_forms(plain))
    sequence, _, spec, _, _ = KINDS[kind]
    params, x = random_params(spec(IN, HIDDEN)), jnp.asarray(normal(BATCH, 20, IN), jnp.bfloat16)
    y, carry = sequence(params, x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {np.dtype(np.float32)}
    _, low = sequence(params, x, carry=jax.tree.map(lambda c: c.astype(jnp.bfloat16), carry))
    assert {leaf.dtype for leaf in jax.tree.leaves(low)} == {jnp.dtype(jnp.bfloat16)}

    def loss(params, x):
        return jnp.sum(sequence(params, x)[0].astype(jnp.float32) ** 2)

    actual, expected = jax.grad(loss)(params, x), jax.grad(loss)(params, x.astype(jnp.float32))
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, atol=0.05 * float(np.abs(e).max()))


def test_recurrent_runs_any_cell():
    def discounted_sum(params, carry, x):
        total = carry["total"] * params["discount"] + x
        return {"total": total, "steps": carry["steps"] + 1}, total

    x, mask = normal(2, 4, 3), np.array([[True, True, False, True], [False, True, True, False]])
    start = {"total": jnp.ones((2, 3)), "steps": jnp.zeros(2, jnp.int32)}
    y, carry = nn.recurrent(discounted_sum, {"discount": jnp.float32(0.5)}, x, carry=start, mask=mask, reverse=True)
    expected, totals = np.zeros((2, 4, 3), np.float32), np.ones((2, 3), np.float32)
    for row, step in [(0, 3), (0, 1), (0, 0), (1, 2), (1, 1)]:
        totals[row] = 0.5 * totals[row] + x[row, step]
        expected[row, step] = totals[row]
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(carry["total"], totals, rtol=1e-6)
    np.testing.assert_array_equal(carry["steps"], [3, 2])


def test_stacked_drops_between_layers_only():
    """With rate 1 the second layer of PyTorch reads zeros, and the first one's carry is as without."""
    params, x = random_params(nn.stacked_spec(nn.lstm_spec, IN, HIDDEN, count=2)), normal(BATCH, TIME, IN)
    module = torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
    module.load_state_dict(torch_weights(jax.tree.map(torch.tensor, params[1]), "_l0"))
    y, carry = nn.stacked(nn.lstm, params, x, rate=1.0, key=jax.random.key(0), train=True)
    assert_close(y, module(torch.zeros(BATCH, TIME, HIDDEN))[0])
    full, full_carry = nn.stacked(nn.lstm, params, x, rate=1.0, train=False)
    assert_close(carry[0], full_carry[0])
    assert_close(full, nn.stacked(nn.lstm, params, x)[0])


def test_dropout_between_layers_has_a_key_of_its_own_for_each():
    """A layer that hands on what it gets shows what each dropout did."""

    def pass_on(params, x, *, carry, mask):
        return x, x

    ones = jnp.ones((1, 1, 2000))
    y, (_, second, third) = nn.stacked(pass_on, [{}, {}, {}], ones, rate=0.5, key=jax.random.key(0), train=True)
    assert set(np.unique(second)) == {0, 2}
    assert set(np.unique(third)) == {0, 4}
    np.testing.assert_allclose(np.mean(second), 1, atol=0.1)
    np.testing.assert_allclose(np.mean(y), 1, atol=0.15)


@every_kind
def test_kernels_start_gate_by_gate_and_lstm_remembers(kind):
    params, _ = init(KINDS[kind][2](30, 20), jax.random.key(0))
    gates = params["hidden_kernel"].shape[1] // 20
    blocks = np.split(np.asarray(params["hidden_kernel"]), gates, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(20), atol=1e-5)
    assert len({float(block[0, 0]) for block in blocks}) == gates
    forget = np.zeros((gates, 20))
    forget[1 if kind == "lstm" else slice(0)] = 1
    np.testing.assert_array_equal(params["bias"], forget.reshape(-1))
    np.testing.assert_allclose(np.std(params["input_kernel"]), 30**-0.5, rtol=0.1)


@every_kind
def test_torch_defaults_have_torch_distribution(kind):
    _, _, spec, torch_layer, _ = KINDS[kind]
    params, _ = init(torch_defaults(spec(100, 400)), jax.random.key(0))
    module = torch_layer(100, 400)
    bias, second = (b.detach().numpy() for b in (module.bias_ih_l0, module.bias_hh_l0))
    if kind == "gru":
        theirs = np.concatenate([(bias + second)[:800], bias[800:]])
        pairs = [(params["bias"][:800], theirs[:800]), (params["bias"][800:], theirs[800:])]
        pairs.append((params["hidden_bias"], second[800:]))
    else:
        pairs = [(params["bias"], bias + second)]
    pairs += [(params[f"{ours}_kernel"], getattr(module, f"weight_{name}_l0").detach().numpy())
              for ours, name in (("input", "ih"), ("hidden", "hh"))]  # fmt: skip
    for ours, theirs in pairs:
        levels = np.linspace(0, 1, 9)
        np.testing.assert_allclose(np.quantile(ours, levels), np.quantile(theirs, levels), atol=0.012)


def lstm_params():
    return random_params(nn.lstm_spec(IN, HIDDEN))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, r"lstm: last axis must be 4 \(kernel \[4, 8\]\), got x \[3, 5, 6\]",
         lambda: nn.lstm(lstm_params(), normal(3, 5, 6))),
        (ValueError, r"lstm: x must be \[..., time, in_features\], got \[4\]",
         lambda: nn.lstm(lstm_params(), normal(4))),
        (TypeError, r"gru: x must be floating point, got int32",
         lambda: nn.gru(random_params(nn.gru_spec(IN, HIDDEN)), jnp.ones((3, 5, 4), jnp.int32))),
        (ValueError, r"gru: kernels must be \[in, 3 \* hidden\] .* got \[4, 8\] and \[2, 8\]; pass what init\(gru_spec",
         lambda: nn.gru(lstm_params(), normal(3, 5, 4))),
        (ValueError, r"lstm: carry must be LSTMCarry\(hidden=\[3, 2\], cell=\[3, 2\]\) .* got \(\[3, 2\], \[3, 2\]\)",
         lambda: nn.lstm(lstm_params(), normal(3, 5, 4), carry=(normal(3, 2), normal(3, 2)))),
        (ValueError, r"lstm_cell: .* got LSTMCarry\(hidden=\[2\], cell=\[2\]\); lstm_carry\(params, batch=",
         lambda: nn.lstm_cell(lstm_params(), random_carry("lstm"), normal(3, 4))),
        (ValueError, r"lstm: mask must be \[3, 5\] for x \[3, 5, 4\], got \[3\]",
         lambda: nn.lstm(lstm_params(), normal(3, 5, 4), mask=np.ones(3, bool))),
        (TypeError, r"lstm: mask must be a boolean array, True at real steps, got float32",
         lambda: nn.lstm(lstm_params(), normal(3, 5, 4), mask=normal(3, 5))),
        (ValueError, r"recurrent: x must be \[..., time, in_features\], got \[4\]",
         lambda: nn.recurrent(nn.lstm_cell, lstm_params(), normal(4), carry=random_carry("lstm"))),
        (ValueError, r"bidirectional: params must be a dict of 'forward' and 'backward', got \['bias', ",
         lambda: nn.bidirectional(nn.lstm, lstm_params(), normal(3, 5, 4))),
        (ValueError, r"stacked: params must be a list .* got dict",
         lambda: nn.stacked(nn.lstm, lstm_params(), normal(5, 4))),
        (ValueError, r"stacked: carry must be a list of 1, one a layer, got LSTMCarry",
         lambda: nn.stacked(nn.lstm, [lstm_params()], normal(5, 4), carry=random_carry("lstm"))),
        (ValueError, r"stacked: rate is not 0; pass train=True",
         lambda: nn.stacked(nn.lstm, [lstm_params()], normal(5, 4), rate=0.5)),
        (ValueError, r"dropout: .* needs a random key",
         lambda: nn.stacked(nn.lstm, [lstm_params()] * 2, normal(5, 4), rate=0.5, train=True)),
        (ValueError, r"lstm_carry: params must be those of one lstm, with 'hidden_kernel', got list",
         lambda: nn.lstm_carry([lstm_params()], batch=2)),
        (ValueError, r"stacked_spec: count must be at least 1, got 0",
         lambda: nn.stacked_spec(nn.gru_spec, 2, 2, count=0)),
        (ValueError, r"gru_spec: in_features and hidden must be at least 1, got 0 and 2", lambda: nn.gru_spec(0, 2)),
    ],
)  # fmt: skip
def test_errors_say_what_came_and_what_was_expected(error, message, call):
    with pytest.raises(error, match=message):
        call()


def test_errors_name_the_layer_in_a_stack():
    params = random_params(nn.stacked_spec(nn.lstm_spec, IN, HIDDEN, count=2, bidirectional=True))
    params[1]["backward"] = lstm_params() | {"input_kernel": normal(3, 8)}
    layers = functools.partial(nn.stacked, functools.partial(nn.bidirectional, nn.lstm))
    model = make_model({}, lambda params, state, x, *, key=None, train: (layers(params, x)[0], state))
    with pytest.raises(ValueError, match="last axis must be 3") as caught:
        model.apply(params, {}, normal(BATCH, TIME, IN), train=False)
    assert caught.value.__notes__ == ["in layer '1/backward'"]
