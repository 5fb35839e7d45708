"""Chains against the same networks written by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxnets import combinators as c, make_model, nn, subkey, unstack
from tests.oracles import normal

KEY = jax.random.key(0)


def chained():
    return c.serial(
        conv=c.conv(4, (3, 3), stride=2),
        bn=c.batch_norm(momentum=0.8),
        relu=jax.nn.relu,
        block=c.residual(c.serial(fc1=c.linear(6), tanh=jnp.tanh, fc2=c.linear(4))),
        drop=c.dropout(0.5),
        fork=c.branch(a=c.linear(3, bias=False), b=c.layer_norm()),
        flatten=c.flatten,
        head=c.linear(2),
    )


def by_hand():
    spec = {
        "conv": nn.conv_spec(3, 4, (3, 3)),
        "bn": nn.batch_norm_spec(4),
        "relu": {},
        "block": {"body": {"fc1": nn.linear_spec(4, 6), "tanh": {}, "fc2": nn.linear_spec(6, 4)}},
        "drop": {},
        "fork": {"a": nn.linear_spec(4, 3, bias=False), "b": nn.layer_norm_spec(4)},
        "flatten": {},
        "head": nn.linear_spec(4 * 4 * 7, 2),
    }

    def apply(params, state, x, *, key=None, train):
        x = nn.conv(params["conv"], x, stride=2)
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train, momentum=0.8)
        x = jax.nn.relu(x)
        body = params["block"]["body"]
        x = x + nn.linear(body["fc2"], jnp.tanh(nn.linear(body["fc1"], x)))
        x = nn.dropout(x, 0.5, key=subkey(key, "drop"), train=train)
        x = jnp.concatenate([nn.linear(params["fork"]["a"], x), nn.layer_norm(params["fork"]["b"], x)], axis=-1)
        return nn.linear(params["head"], x.reshape((x.shape[0], -1))), {"bn": bn}

    return make_model(spec, apply)


@pytest.mark.parametrize("train", [False, True])
def test_a_chain_equals_the_model_written_by_hand(train):
    x = normal(5, 8, 8, 3)
    ours, theirs = c.build(chained(), x), by_hand()
    start = ours.init(KEY)
    chex.assert_trees_all_equal(start, theirs.init(KEY))

    def run(model):
        def loss(params):
            outputs, state = model.apply(params, start[1], x, key=jax.random.key(9), train=train)
            return jnp.sum(outputs**2), (outputs, state)

        return jax.value_and_grad(loss, has_aux=True)(start[0])

    chex.assert_trees_all_equal(run(ours), run(theirs))


def test_repeated_layers_equal_a_loop():
    x = normal(2, 4)
    model = c.build(c.repeat(c.serial(fc=c.linear(4), tanh=jnp.tanh), 3), x)
    params, state = model.init(KEY)
    y = x
    for i in range(3):
        y = jnp.tanh(nn.linear(jax.tree.map(lambda a, i=i: a[i], params["fc"]), y))
    chex.assert_trees_all_close(model.apply(params, state, x, train=False)[0], y, rtol=1e-6)


def test_unnamed_layers_are_numbered_by_kind():
    spec = c.serial(c.linear(3), jax.nn.relu, c.linear(2)).spec(jnp.ones((1, 4)))
    assert list(spec) == ["linear1", "relu1", "linear2"]


def test_errors_name_the_path():
    model = c.build(c.serial(block=c.residual(c.serial(fc=c.linear(4)))), jnp.ones((1, 4)))
    params, state = model.init(KEY)
    with pytest.raises(ValueError, match="last axis must be 4") as caught:
        model.apply(params, state, jnp.ones((1, 5)), train=False)
    assert "in layer 'block/body/fc'" in caught.value.__notes__


def test_misuse_is_refused():
    with pytest.raises(ValueError, match=r"returned \[1, 3\] where x has \[1, 4\]; pass shortcut"):
        c.build(c.serial(c.residual(c.linear(3)), c.linear(2)), jnp.ones((1, 4)))
    with pytest.raises(TypeError, match="expected a Layer or a function of the inputs, got int"):
        c.serial(3)
    with pytest.raises(ValueError, match=r"\['linear1'\] are taken"):
        c.serial(c.linear(3), linear1=c.linear(2))


def test_repeated_layers_without_state_take_unstacked_parameters():
    x = jnp.asarray(normal(2, 4))
    model = c.build(c.repeat(c.serial(fc=c.linear(4), relu=jax.nn.relu), 3), x)
    params, state = model.init(jax.random.key(0))
    expected = x
    for layer in unstack(params):
        expected = jax.nn.relu(nn.linear(layer["fc"], expected))
    for given in (params, unstack(params)):
        np.testing.assert_allclose(model.apply(given, state, x, train=False)[0], expected, rtol=1e-6)


def test_layers_without_parameters_are_repeated():
    x = jnp.asarray(normal(50, 40))
    model = c.build(c.repeat(lambda x: x / 2, 3), x)
    np.testing.assert_allclose(model.apply({}, {}, x, train=False)[0], x / 8, rtol=1e-6)
    model = c.build(c.repeat(c.dropout(0.5), 3), x)
    kept = model.apply({}, {}, x, key=jax.random.key(0), train=True)[0] != 0
    low, high = scipy.stats.binom.interval(1 - 1e-6, x.size, 1 / 8)  # each copy has a key of its own
    assert low <= int(kept.sum()) <= high
