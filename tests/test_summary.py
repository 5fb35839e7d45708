"""The summary against PyTorch's counts of the same network."""

import jax
import jax.numpy as jnp
import torch
from torch.utils.flop_counter import FlopCounterMode

from jaxnets import count_flops, init, make_model, nn, repeat, repeat_spec, summary
from jaxnets.models import mnist_cnn
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


def test_calls_inside_scanned_blocks_and_state_are_shown():
    spec = {"tower": repeat_spec({"fc": nn.linear_spec(4, 4)}, 5), "bn": nn.batch_norm_spec(4)}

    def apply(params, state, x, *, key=None, train):
        x = repeat(lambda p, x: nn.linear(p["fc"], x), params["tower"], x)
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train)
        return x, {"bn": bn}

    report = summary(make_model(spec, apply), jnp.ones((3, 4)))
    assert [(row.path, row.layer, row.parameters) for row in report.rows] == [
        ("tower/fc", "linear", 20),
        ("bn", "batch_norm", 8),
    ]
    assert report.parameters == 5 * 20 + 8
    _, state = init(spec, jax.random.key(0))
    held = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert report.state == report.rows[1].state == held > 0
    assert report.flops == 5 * 2 * 3 * 4 * 4
    assert "tower/fc" in str(report)
