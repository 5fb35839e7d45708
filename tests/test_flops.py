"""Counts of operations against PyTorch's and papers', for every form of a layer, whatever was traced before."""

import functools

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from jaxnets import backend, count_flops, init, make_model, models, nn, summary
from jaxnets.backend import plain_forms
from tests.oracles import normal

needs_cpu_forms = pytest.mark.skipif(backend.platform() != "cpu", reason="the fast forms here are those for CPU")


def torch_flops(network, *inputs):
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops()


def torch_flops_with_gradient(network, x):
    if getattr(network, "groups", 1) > 1:  # whose kernel gradients PyTorch counts as if there were one group
        return 3 * torch_flops(network, x)
    x.requires_grad_()
    return torch_flops(lambda x: network(x).square().sum().backward(), x)


def gradient_of(layer):
    return jax.grad(lambda params, x: jnp.sum(layer(params, x) ** 2), argnums=(0, 1))


@pytest.mark.parametrize(
    ("model", "size", "multiply_adds"),
    [
        (models.efficientnet, 224, 0.39e9),  # Tan and Le, 2019, table 2
        (models.resnet, 224, 4.09e9),  # torchvision's table of models
        (models.vgg, 224, 15.47e9),
    ],
)
def test_networks_count_what_their_authors_say(model, size, multiply_adds):
    model = model()
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    flops = count_flops(lambda *args: model.apply(*args, train=False)[0], params, state, images)
    assert flops / 2 == pytest.approx(multiply_adds, rel=0.015)


LAYERS = {
    "linear": (nn.linear_spec(5, 3), nn.linear, (4, 5), torch.nn.Linear(5, 3)),
    "conv": (nn.conv_spec(4, 6, (3, 3)), nn.conv, (2, 8, 8, 4), torch.nn.Conv2d(4, 6, 3, padding=1)),
    "conv-strided": (
        nn.conv_spec(4, 6, (3, 3)),
        functools.partial(nn.conv, stride=2, padding=1),
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 6, 3, stride=2, padding=1),
    ),
    "conv-valid": (
        nn.conv_spec(4, 6, (3, 3)),
        functools.partial(nn.conv, padding="VALID"),
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 6, 3),
    ),
    "conv-1x1": (nn.conv_spec(4, 6, (1, 1)), nn.conv, (2, 8, 8, 4), torch.nn.Conv2d(4, 6, 1)),
    "conv-3d": (
        nn.conv_spec(2, 3, (3, 3, 3)),
        functools.partial(nn.conv, stride=2, padding=1),
        (2, 4, 6, 6, 2),
        torch.nn.Conv3d(2, 3, 3, stride=2, padding=1),
    ),
    "two-groups": (
        nn.grouped_conv_spec(4, 6, (3, 3), groups=2),
        nn.grouped_conv,
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 6, 3, padding=1, groups=2),
    ),
    "nine-groups": (
        nn.grouped_conv_spec(18, 27, (3, 3), groups=9),
        nn.grouped_conv,
        (2, 8, 8, 18),
        torch.nn.Conv2d(18, 27, 3, padding=1, groups=9),
    ),
    "depthwise": (
        nn.depthwise_conv_spec(4, (3, 3)),
        nn.depthwise_conv,
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 4, 3, padding=1, groups=4),
    ),
    "depthwise-strided": (
        nn.depthwise_conv_spec(4, (3, 3)),
        functools.partial(nn.depthwise_conv, stride=2, padding=1),
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),
    ),
    "depthwise-multiplied": (
        nn.depthwise_conv_spec(4, (3, 3), multiplier=2),
        nn.depthwise_conv,
        (2, 8, 8, 4),
        torch.nn.Conv2d(4, 8, 3, padding=1, groups=4),
    ),
    "transposed": (
        nn.conv_transpose_spec(4, 6, (4, 4)),
        functools.partial(nn.conv_transpose, stride=2, padding=1),
        (2, 5, 5, 4),
        torch.nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    ),
    "transposed-3d": (
        nn.conv_transpose_spec(2, 3, (2, 2, 2)),
        functools.partial(nn.conv_transpose, stride=2),
        (2, 3, 3, 3, 2),
        torch.nn.ConvTranspose3d(2, 3, 2, stride=2),
    ),
    "transposed-groups": (
        nn.grouped_conv_transpose_spec(4, 6, (4, 4), groups=2),
        functools.partial(nn.grouped_conv_transpose, stride=2, padding=1),
        (2, 5, 5, 4),
        torch.nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1, groups=2),
    ),
}


@pytest.mark.parametrize("form", ["fast", "plain"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients_count_what_torch_counts_in_every_form(enter, name, form):
    spec, layer, shape, theirs = LAYERS[name]
    enter(plain_forms("all" if form == "plain" else ""))
    params, _ = jax.eval_shape(lambda: init(spec, jax.random.key(0)))
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    images = torch.zeros(shape).movedim(-1, 1).contiguous() if len(shape) > 2 else torch.zeros(shape)
    assert count_flops(layer, params, x) == torch_flops(theirs, images)
    assert count_flops(gradient_of(layer), params, x) == torch_flops_with_gradient(theirs, images)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("implementation", ["einsum", "xla", "splash", None])
def test_every_form_of_attention_counts_the_two_products_of_its_maths(implementation, causal):
    q, k = normal(2, 256, 4, 32), normal(2, 256 if causal else 384, 4, 32, seed=1)

    def attend(q, k):
        return nn.dot_product_attention(q, k, k, causal=causal, implementation=implementation)

    expected = 2 * (2 * q.size * k.shape[1])
    assert count_flops(attend, q, k) == expected
    gradient = jax.grad(lambda q, k: jnp.sum(attend(q, k) ** 2), argnums=(0, 1))
    # splash attention sums the products of results and their cotangents by an einsum
    assert count_flops(gradient, q, k) == pytest.approx(3 * expected, rel=1e-9 if implementation != "splash" else 2e-3)


@pytest.mark.skipif(backend.platform() != "gpu", reason="cuDNN needs an NVIDIA GPU")
@pytest.mark.parametrize("layer", ["attention", "lstm"])
def test_cudnn_counts_what_the_plain_forms_count(layer):
    if layer == "attention":
        q = jnp.asarray(normal(2, 128, 4, 64), jnp.bfloat16)
        k = jnp.asarray(normal(2, 64, 2, 64), jnp.bfloat16)
        forms = [functools.partial(nn.dot_product_attention, implementation=name) for name in ("cudnn", "xla")]
        functions = [lambda q, k, form=form: form(q, k, k).astype(jnp.float32) for form in forms]
    else:
        q, _ = init(nn.lstm_spec(8, 16), jax.random.key(0))
        k = normal(2, 5, 8)
        functions = [lambda p, x, name=name: nn.lstm(p, x, implementation=name)[0] for name in ("cudnn", "scan")]
    cudnn, plain = functions
    assert count_flops(cudnn, q, k) == count_flops(plain, q, k)
    assert count_flops(gradient_of(cudnn), q, k) == count_flops(gradient_of(plain), q, k)


@pytest.mark.parametrize("name", ["linear", "conv", "depthwise"])
def test_the_count_of_a_compiled_function_is_the_same_after_a_call_and_in_loops_checkpoints_and_vmap(name):
    spec, layer, shape, _ = LAYERS[name]
    params, _ = init(spec, jax.random.key(0))
    x = normal(*shape)
    expected = count_flops(gradient_of(layer), params, x)
    compiled = jax.jit(gradient_of(layer))
    assert count_flops(compiled, params, x) == expected
    compiled(params, x)
    assert count_flops(compiled, params, x) == expected
    repeated = functools.partial(jax.lax.scan, lambda c, _: (jax.tree.map(jnp.add, c, compiled(*c)), None))
    assert count_flops(lambda p, x: repeated((p, x), length=5)[0], params, x) == 5 * expected
    stacked = jax.tree.map(lambda a: jnp.stack([a] * 3), (params, x))
    assert count_flops(jax.vmap(compiled), *stacked) == 3 * expected
    again = gradient_of(jax.checkpoint(layer))
    assert count_flops(again, params, x) in (expected, expected + count_flops(layer, params, x))


def programs(conv):
    """A network by each of JAX's ways to trace a function once for all."""

    def body(carry, _):
        return (carry[0], conv(*carry)), None

    checkpointed = jax.checkpoint(lambda p, x: conv(p, x))
    return {
        "jit": jax.jit(lambda p, x: conv(p, x)),
        "scan": lambda p, x: jax.lax.scan(body, (p, x), length=2)[0][1],
        "checkpoint": lambda p, x: checkpointed(p, x),
    }


@needs_cpu_forms
@pytest.mark.parametrize("name", ["jit", "scan", "checkpoint"])
@pytest.mark.parametrize("look", ["count_flops", "summary"])
def test_looking_at_a_network_does_not_change_what_is_traced_later(name, look):
    network = programs(lambda p, x: nn.conv(p["conv"], x))[name]
    model = make_model({"conv": nn.conv_spec(8, 8, (3, 3))}, lambda p, s, x, key=None, train=False: (network(p, x), s))
    params, state = model.init(jax.random.key(0))
    x = jnp.ones((2, 8, 8, 8))
    if look == "summary":
        flops = summary(model, x).flops
    else:
        flops = count_flops(lambda p, x: network(p, x), params, x)
    assert flops == (2 if name == "scan" else 1) * 2 * x.size * 9 * 8
    program = jax.make_jaxpr(jax.grad(lambda p, x: jnp.sum(model.apply(p, state, x, train=True)[0])))(params, x)
    assert "convolution_on_cpu" in str(program)


def test_a_summary_after_training_counts_what_it_counted_before():
    block = jax.jit(lambda p, x: nn.linear(p, x))
    model = make_model({"fc": nn.linear_spec(8, 8)}, lambda p, s, x, key=None, train=False: (block(p["fc"], x), s))
    params, state = model.init(jax.random.key(0))
    x = jnp.ones((4, 8))
    jax.grad(lambda p: jnp.sum(model.apply(p, state, x, train=True)[0]))(params)
    assert summary(model, x).flops == 2 * 4 * 8 * 8


def test_rows_of_groups_are_multiplied_by_their_own_matrix():
    counts = jnp.array([2, 4])
    assert count_flops(jax.lax.ragged_dot, jnp.ones((6, 3)), jnp.ones((2, 3, 4)), counts) == 2 * 6 * 3 * 4
