"""What repeated blocks compute again: the same values in every transformation, and less stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, models, nn, repeat, repeat_spec
from jaxnets.backend import plain_forms, trace_for
from jaxnets.recompute import keep_costly
from jaxnets.training import compute_in
from tests.oracles import assert_close, normal

NETWORKS = {
    "gpt": (
        lambda: models.gpt(models.GPTConfig(11, 16, layers=2, heads=2, features=8)),
        lambda: np.arange(32).reshape(2, 16) % 11,
    ),
    "vit": (lambda: models.vit(models.ViTConfig(8, 4, 5, layers=2, heads=2, features=8)), lambda: normal(2, 8, 8, 3)),
    "resnet": (lambda: models.cifar_resnet(models.CifarResNetConfig(56)), lambda: normal(2, 8, 8, 3)),
}


def plain_and_recomputed(enter, function):
    enter(trace_for("tpu"))
    enter(plain_forms("recompute"))
    plain = function()
    enter(plain_forms(""))
    jax.clear_caches()
    return plain, function()


def transform(params, state, x, *, key):
    return nn.transformer_block(params, x, causal=True, dropout_rate=0.5, key=key, train=True), state


def normalize(params, state, x, *, key):
    y, state = nn.batch_norm({}, state, nn.linear(params, x), train=True)
    return x + jax.nn.relu(y), state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "spec"),
    [
        (transform, nn.transformer_block_spec(8, heads=2)),
        (normalize, nn.linear_spec(8, 8) | nn.batch_norm_spec(8, scale=False, bias=False)),
    ],
    ids=["transformer block", "batch norm"],
)
def test_gradients_and_forward_over_reverse_are_those_of_the_plain_form(enter, block, spec):
    params, state = init(repeat_spec(spec, 2), jax.random.key(0))
    x = normal(3, 7, 8)

    def loss(params, x):
        y, new_state = repeat(block, params, x, state=state, key=jax.random.key(1))
        moved = [jnp.sum(leaf) for leaf in jax.tree.leaves(new_state) if leaf.dtype == x.dtype]
        return jnp.mean(jnp.sin(y)) + sum(moved)

    @jax.jit
    def derivatives(params, x):
        gradient = jax.value_and_grad(loss, argnums=(0, 1))
        return jax.jvp(gradient, (params, x), (params, x))

    plain, recomputed = plain_and_recomputed(enter, lambda: derivatives(params, x))
    assert_close(recomputed, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_at_most_two_thirds_are_stored_in_half_precision(enter, name):
    make, inputs = NETWORKS[name]
    model, x = compute_in(jnp.bfloat16, make()), inputs()
    params, state = jax.eval_shape(model.init, jax.random.key(0))

    def stored():
        def residuals(params, state):
            return jax.tree.leaves(jax.vjp(lambda params: model.apply(params, state, x, train=True)[0], params)[1])

        return sum(array.size * array.dtype.itemsize for array in jax.eval_shape(residuals, params, state))

    weights = sum(2 * leaf.size for leaf in jax.tree.leaves(params))
    plain, recomputed = plain_and_recomputed(enter, stored)
    assert 0 < recomputed - weights < (plain - weights) * 2 / 3


def test_a_dropout_mask_is_stored_and_not_its_random_bits(enter):
    enter(trace_for("tpu"))

    def block(params, x, *, key):
        return nn.dropout(jnp.tanh(x * params[None]), 0.5, key=key, train=True)

    def loss(params):
        return jnp.sum(repeat(block, params, jnp.ones((2, 4)), key=jax.random.key(0)))

    text = str(jax.make_jaxpr(jax.grad(loss))(jnp.ones((3, 1))))
    assert (text.count("= tanh "), text.count("random_bits[")) == (2, 1)  # the rest of the block is computed again
    stored = jax.tree.leaves(jax.vjp(loss, jnp.ones((3, 1)))[1])
    assert [array.shape for array in stored if array.dtype == jnp.bool_] == [(3, 2, 4)]
    assert not [array for array in stored if array.dtype == jnp.uint32 and array.size > 3]


@pytest.mark.parametrize(
    ("shapes", "dimensions", "kept"),
    [
        (((2, 9, 4), (2, 9, 4)), (((2,), (2,)), ((0,), (0,))), False),  # weights of attention
        (((2, 9, 9), (2, 9, 4)), (((2,), (1,)), ((0,), (0,))), True),  # their product with the values
        (((90, 4), (4, 40)), (((1,), (0,)), ((), ())), True),  # a linear layer
    ],
)
def test_which_products_are_kept(shapes, dimensions, kept):
    left, right = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    assert keep_costly(jax.lax.dot_general_p, left, right, dimension_numbers=dimensions) is kept
