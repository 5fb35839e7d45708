"""The summary against PyTorch's counts of the same network."""

import functools

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jaxnets import count_flops, count_parameters, init, make_model, nn, repeat, repeat_spec, summary
from jaxnets.models import mnist_cnn
from jaxnets.summary import NO_LAYER
from tests.cases.models import CASES as MODELS
from tests.html_rows import html_rows
from tests.oracles import normal


def torch_mnist_cnn():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(9216, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )


def torch_flops(network, *inputs):
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops()


def test_the_lectures_network_has_torchs_parameters_and_flops():
    theirs = torch_mnist_cnn()
    ours = summary(mnist_cnn(), jax.ShapeDtypeStruct((64, 28, 28, 1), jnp.float32))
    assert ours.parameters == sum(p.numel() for p in theirs.parameters())
    assert ours.parameter_bytes == 4 * ours.parameters
    assert ours.flops == torch_flops(theirs, torch.zeros(64, 1, 28, 28)) == sum(row.flops for row in ours.rows)
    by_layer = {row.path: (row.layer, row.output, row.parameters) for row in ours.rows}
    assert by_layer == {
        "conv1": ("conv", (64, 26, 26, 32), 320),
        "conv2": ("conv", (64, 24, 24, 64), 18496),
        "fc1": ("linear", (64, 128), 1179776),
        "fc2": ("linear", (64, 10), 1290),
    }


def test_flops_of_a_gradient_are_those_of_torch():
    params = {"kernel": normal(5, 3), "bias": normal(3)}
    ours = count_flops(jax.grad(lambda p, x: jnp.sum(nn.linear(p, x) ** 2), argnums=(0, 1)), params, normal(4, 5))
    layer, x = torch.nn.Linear(5, 3), torch.zeros(4, 5, requires_grad=True)
    theirs = torch_flops(lambda x: layer(x).square().sum().backward(), x)
    assert ours == theirs


def test_flops_of_a_depthwise_convolution_are_those_of_torch():
    params, _ = init(nn.depthwise_conv_spec(4, (3, 3)), jax.random.key(0))
    ours = count_flops(lambda p, x: nn.depthwise_conv(p, x, padding="VALID"), params, normal(2, 8, 8, 4))
    assert ours == torch_flops(torch.nn.Conv2d(4, 4, 3, groups=4), torch.zeros(2, 4, 8, 8))


def test_flops_of_loops_and_branches():
    x = jnp.ones((4, 4))
    product = 2 * 4**3
    assert count_flops(lambda x: jax.lax.scan(lambda c, _: (c @ x, None), x, length=7)[0], x) == 7 * product
    assert count_flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda: x @ x @ x, lambda: x @ x), x) == 2 * product
    assert count_flops(jax.jit(jax.vmap(lambda row: x @ row)), x) == product


def rows_of(spec, apply, x=None):
    """Of each row: path, layer, times, parameters, operations, and whether it is shared; the table adds up."""
    model = make_model(spec, lambda params, state, x, *, key=None, train: (apply(params, x), state))
    report = summary(model, jnp.ones((3, 4)) if x is None else x)
    assert_adds_up(report, spec)
    return [(row.path, row.layer, row.times, row.parameters, row.flops, row.shared) for row in report.rows]


def assert_adds_up(report, spec):
    assert sum(row.parameters for row in report.rows) == report.parameters == count_parameters(spec)
    assert sum(row.state for row in report.rows) == report.state
    assert sum(row.flops for row in report.rows) == report.flops


TOWER = {"tower": repeat_spec({"fc": nn.linear_spec(4, 4)}, 5)}


def block(params, x):
    return nn.linear(params["fc"], x)


def part(params, i):
    return jax.tree.map(lambda leaf: leaf[i], params)


def in_a_loop(params, x, block=block):
    for i in range(5):
        x = block(part(params["tower"], i), x)
    return x


@pytest.mark.parametrize(
    "apply",
    [
        lambda params, x: repeat(block, params["tower"], x),
        lambda params, x: repeat(block, params["tower"], x, unroll=5),
        lambda params, x: repeat(block, params["tower"], x, remat=True),
        lambda params, x: jax.lax.scan(lambda x, p: (block(p, x), None), x, params["tower"])[0],
        lambda params, x: jnp.sum(jax.vmap(block, (0, None))(params["tower"], x), axis=0),
        lambda params, x: functools.reduce(
            jax.jit(lambda x, p: block(p, x)), [part(params["tower"], i) for i in range(5)], x
        ),
        in_a_loop,
    ],
    ids=["repeat", "unrolled", "remat", "scan", "vmap", "loop", "loop of jit"],
)
def test_repeated_layers_are_one_row(apply):
    assert rows_of(TOWER, apply) == [("tower/fc", "linear", 5, 5 * 20, 5 * 2 * 3 * 4 * 4, False)]


def test_state_of_repeated_layers_is_counted():
    spec = {"tower": repeat_spec(nn.conv_norm_spec(4, 4, (1,)), 5), "bn": nn.batch_norm_spec(4)}

    def apply(params, state, x, *, key=None, train):
        conv_norm = functools.partial(nn.conv_norm, train=train)
        x, tower = repeat(conv_norm, params["tower"], x, state=state["tower"])
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train)
        return x, {"tower": tower, "bn": bn}

    report = summary(make_model(spec, apply), jnp.ones((2, 3, 4)))
    assert_adds_up(report, spec)
    rows = [(row.path, row.layer, row.times, row.parameters, row.depth) for row in report.rows]
    assert rows == [
        ("tower", "conv_norm", 5, 0, 0),
        ("tower/conv", "conv", 5, 5 * 16, 1),
        ("tower/norm", "batch_norm", 5, 5 * 8, 1),
        ("bn", "batch_norm", 1, 8, 0),
    ]
    norm = report.rows[3].state
    assert [row.state for row in report.rows] == [0, 0, 5 * norm, norm]


def test_a_layer_that_is_called_twice_counts_once():
    spec = {"fc": nn.linear_spec(4, 4), "head": nn.linear_spec(4, 2)}
    flops = 2 * 3 * 4 * 4
    rows = rows_of(spec, lambda params, x: nn.linear(params["head"], block(params, block(params, x))))
    assert rows[:2] == [("fc", "linear", 1, 20, flops, False), ("fc", "linear", 1, 0, flops, True)]
    assert rows[2:] == [("head", "linear", 1, 10, flops // 2, False)]


def test_what_no_layer_got_is_counted_at_the_end():
    spec = {"fc": nn.linear_spec(4, 4), "unused": nn.linear_spec(4, 3), "scale": nn.linear_spec(4, 4)["bias"]}
    rows = rows_of(spec, lambda params, x: block(params, x * params["scale"][None]) @ jnp.ones((4, 7)))
    assert rows == [
        ("fc", "linear", 1, 20, 2 * 3 * 4 * 4, False),
        ("scale", NO_LAYER, 1, 4, 0, False),
        ("unused", NO_LAYER, 1, 15, 0, False),
        ("", NO_LAYER, 1, 0, 2 * 3 * 4 * 7, False),
    ]


def test_operations_under_transformations_are_all_counted():
    def apply(params, x):
        x = jax.vmap(lambda row: nn.linear(params["fc"], row))(x)
        return jax.lax.cond(
            x[0, 0] > 0,
            lambda: nn.linear(params["a"], x) @ jnp.ones((3, 5)),
            lambda: nn.linear(params["b"], x),
        )

    rows = rows_of({"fc": nn.linear_spec(4, 4), "a": nn.linear_spec(4, 3), "b": nn.linear_spec(4, 5)}, apply)
    assert [(row[0], row[4]) for row in rows] == [
        ("fc", 2 * 3 * 4 * 4),
        ("a", 2 * 3 * 4 * 3),
        ("b", 0),
        ("", 2 * 3 * 3 * 5),
    ]


def test_the_table_says_what_its_signs_mean():
    spec = TOWER | {"fc": nn.linear_spec(4, 4), "unused": nn.linear_spec(4, 3)}
    model = make_model(
        spec, lambda params, state, x, *, key=None, train: (block(params, block(params, in_a_loop(params, x))), state)
    )
    lines = str(summary(model, jnp.ones((3, 4)))).splitlines()
    assert lines[0].split() == ["path", "layer", "output", "parameters", "state", "FLOPs", "per", "batch"]
    assert lines[2].split() == ["tower/fc", "linear", "x", "5", "[3,", "4]", "100", "480"]
    assert lines[4].split() == ["fc", "linear", "(shared)", "[3,", "4]", "96"]
    assert lines[5].split() == ["unused", "(no", "layer)", "[3]", "15"]
    assert [line.split(":")[0] for line in lines[-3:]] == ["x n", "(shared)", "(no layer)"]


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_the_columns_add_up(case):
    def apply(params, state, inputs, *, key=None, train):
        return case.apply(params, state, inputs, key)

    assert_adds_up(summary(make_model(case.spec, apply), case.inputs), case.spec)


def test_a_notebook_shows_the_same_table():
    found = summary(mnist_cnn(), jax.ShapeDtypeStruct((64, 28, 28, 1), jnp.float32))
    rows = html_rows(found._repr_html_())
    header, _, *body, _, total = str(found).splitlines()[:-1]
    for cells, line in zip(rows, [header, *body, total], strict=True):
        assert " ".join(" ".join(cells).split()) == " ".join(line.split())


def test_its_flops_are_those_of_count_flops_also_where_cpu_computes_in_another_form():
    """Causal attention in blocks leaves products out, and 1 x 1 convolutions of three channels are padded."""
    time, x = 1024, jax.ShapeDtypeStruct((1, 1024, 64), jnp.float32)

    def attend(params, state, x, *, key=None, train):
        return nn.attention(params, x, causal=True), state

    attention = make_model(nn.attention_spec(64, heads=4), attend)
    assert summary(attention, x).flops == 2 * time * 64 * 64 * 4 + 2 * 2 * time * time * 64

    def convolve(params, state, x, *, key=None, train):
        return nn.conv(params, x), state

    convolution = make_model(nn.conv_spec(3, 1, (1, 1)), convolve)
    assert summary(convolution, jnp.ones((2, 16, 16, 3))).flops == 2 * 2 * 16 * 16 * 3
