"""The train state before the first step: few programs, the numbers of eager JAX, arrays of its own."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import make_model, nn, subkey
from jaxnets.compiler import compile_quickly, known_options
from jaxnets.training import TrainState, init_train_state
from tests.compilations import count_compilations


def layers(*sizes):
    spec = [nn.linear_spec(*pair) for pair in itertools.pairwise(sizes)]
    return make_model(spec, lambda params, state, x, *, key=None, train: (x, state))


def counting(init):
    """An optimizer that keeps what `init` makes of the parameters."""
    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))


OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "lookahead": optax.lookahead(optax.sgd(0.1), 5, 0.5),
    "noise": optax.chain(optax.add_noise(0.1, 0.5, 3), optax.adamw(1e-3)),
    "schedule": optax.sgd(optax.cosine_decay_schedule(0.1, 10), momentum=0.9),
    "of the parameters": counting(lambda params: jax.tree.map(lambda leaf: jnp.cumsum(leaf, 0), params)),
    "looks at values": counting(lambda params: {"sum": float(sum(map(jnp.sum, jax.tree.leaves(params))))}),
    "no arrays": counting(lambda params: {"name": "sgd", "first": params[0]}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_an_optimizer_is_what_it_makes_itself(name):
    optimizer = OPTIMIZERS[name]
    expected = optimizer.init(layers(3, 4, 5).init(subkey(jax.random.key(0), "init"))[0])
    found = init_train_state(layers(3, 4, 5), optimizer, 0).opt_state
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert getattr(one, "dtype", type(one)) == getattr(other, "dtype", type(other))
        np.testing.assert_array_equal(numbers(one), numbers(other))


def numbers(leaf):
    """An array, also of a key."""
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def test_layers_of_many_shapes_need_few_programs():
    """One for each kernel, one for the optimizer, and some for keys; 11 arrays with two moments would need 60."""
    sizes = (31, 37, 41, 43, 47, 53)
    optimizer = optax.adam(1e-3)
    init_train_state(layers(2, 3), optimizer, 0)
    with count_compilations() as found:
        init_train_state(layers(*sizes), optimizer, 0)
    assert found.count <= len(sizes)


def test_the_arrays_that_are_given_stay():
    given = {"w": jnp.arange(6.0).reshape(2, 3)}
    begin = TrainState.create(given, {"sum": given["w"]}, seed=1)
    jax.block_until_ready(jax.jit(lambda state: state._replace(step=state.step + 1), donate_argnums=0)(begin))
    np.testing.assert_array_equal(given["w"], [[0, 1, 2], [3, 4, 5]])


def test_programs_that_run_once_compute_the_same_bits():
    def program(key):
        return jax.nn.initializers.lecun_normal()(key, (300, 70)), jax.nn.initializers.glorot_uniform()(key, (9, 11))

    key, usual = jax.random.key(3), known_options(xla_backend_optimization_level="3", xla_cpu_use_fusion_emitters=True)
    expected = jax.jit(program, compiler_options=usual)(key)  # the tests may run with other ones
    chex.assert_trees_all_equal(compile_quickly(program, traced=False)(key), expected)


def test_options_that_the_compiler_does_not_know_are_left_out():
    assert known_options(xla_no_such_option="1", xla_backend_optimization_level="1") == {
        "xla_backend_optimization_level": "1"
    }
