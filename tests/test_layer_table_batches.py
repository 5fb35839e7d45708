"""Every layer with no example at all, and with so many that half precision cannot count them."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.backend import plain_forms
from tests.layer_table import CASES
from tests.oracles import quick_jit

KEY = jax.random.key(3)
USES = 4096  # bfloat16 counts to 256, float16 to 2048


def ids(cases):
    return [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]


def is_floating(array):
    return jnp.issubdtype(array.dtype, jnp.floating)


def without_examples(array, case):
    array = np.asarray(array)
    return array[None][:0] if case.unbatched else array[:0]


def loss_of(case):
    """The sum of all outputs, each feature times a small positive weight: what many examples add does not cancel."""

    def loss(params, state, inputs):
        outputs = [o for o in jax.tree.leaves(case.apply(params, state, inputs, KEY)[0]) if is_floating(o)]
        weights = [np.linspace(0.5, 1.5, o.shape[-1], dtype=np.float32) / USES for o in outputs]
        wide = [o.astype(jnp.float32) for o in outputs]
        return sum(jnp.sum(o * np.broadcast_to(w, o.shape)) for o, w in zip(wide, weights, strict=True))

    return loss


def rounded(tree, dtype, final):
    """Floating arrays rounded to one dtype, in another."""
    return jax.tree.map(lambda a: np.asarray(a).astype(dtype).astype(final) if is_floating(a) else a, tree)


@pytest.mark.parametrize("case", ids(c for c in CASES if not c.needs_examples))
def test_an_empty_batch_gives_an_empty_result_and_no_gradient(case):
    params, state = case.init()
    before = jax.eval_shape(lambda: case.apply(params, state, case.inputs, KEY))
    inputs = jax.tree.map(lambda a: without_examples(a, case), case.inputs)
    if case.batched_state:
        state = jax.tree.map(lambda a: np.asarray(a)[:0], state)

    def loss(params):
        outputs, new_state = case.apply(params, state, inputs, KEY)
        return sum(jnp.sum(o) for o in jax.tree.leaves(outputs) if is_floating(o)), (outputs, new_state)

    (_, (outputs, new_state)), gradient = quick_jit(jax.value_and_grad(loss, has_aux=True))(params)
    for output, full in zip(jax.tree.leaves(outputs), jax.tree.leaves(before[0]), strict=True):
        assert output.shape == ((0, *full.shape) if case.unbatched else (0, *full.shape[1:]))
        assert output.dtype == full.dtype
    if not case.state_of_parameters:
        jax.tree.map(np.testing.assert_array_equal, new_state, state)
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, np.zeros_like(g)), gradient)


def many(array, case):
    """The array repeated along the axis of the examples, or of time, until each parameter is used `USES` times."""
    return np.concatenate([np.asarray(array)] * -(-case.uses // array.shape[case.axis]), case.axis)


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ids(c for c in CASES if c.differentiable and not c.random and c.parameters()))
def test_half_precision_counts_thousands_of_uses_of_a_parameter(case, dtype):
    """The gradient in half precision is near that in float32, in the fast form and in the plain one."""
    params, state = case.init()
    inputs = jax.tree.map(lambda a: many(a, case), case.inputs)
    if case.batched_state and case.axis == 0:
        state = jax.tree.map(lambda a: many(a, case), state)

    loss = loss_of(case)
    expected = quick_jit(jax.grad(loss))(rounded(params, dtype, np.float32), state, rounded(inputs, dtype, np.float32))
    largest = max(np.max(np.abs(full)) for full in jax.tree.leaves(expected))
    arguments = (rounded(params, dtype, dtype), state, rounded(inputs, dtype, dtype))
    tolerance = case.bf16_tolerance * (1 if case.layers else 10)  # whole networks have kinks and roundings in depth
    programs = set()
    for form in (contextlib.nullcontext(), plain_forms("all")):
        with form:
            program = str(jax.make_jaxpr(jax.grad(loss))(*arguments))
            if program in programs:  # the layer has one form only
                continue
            programs.add(program)
            actual = quick_jit(jax.grad(loss))(*arguments)
        low_leaves = jax.tree_util.tree_leaves_with_path(actual)
        for (path, low), full in zip(low_leaves, jax.tree.leaves(expected), strict=True):
            assert low.dtype == dtype
            scale = max(np.max(np.abs(full)), 0.1 * largest)  # some gradients are zero but for rounding
            error = np.max(np.abs(np.asarray(low, np.float32) - full)) / scale
            assert error < tolerance, jax.tree_util.keystr(path)
