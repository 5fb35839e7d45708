"""Every layer crossed with every property of the contract (docs/design.md)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.layer_table import CASES

pytestmark = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in CASES]
)
KEY = jax.random.key(3)


def inputs_as(case, dtype):
    return jax.tree.map(lambda a: jnp.asarray(a, dtype if np.issubdtype(a.dtype, np.floating) else None), case.inputs)


def compiled(case):
    """The layer under jit, which compiles faster than its operations one by one; the first test compares the two."""
    return jax.jit(case.apply)


def is_floating(array):
    return jnp.issubdtype(array.dtype, jnp.floating)


def assert_trees_close(actual, expected, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(e, np.float64), rtol=rtol, atol=atol)


def test_jit_equals_eager_and_does_not_retrace(case):
    params, state = case.init()
    traces = []

    def apply(*args):
        traces.append(1)
        return case.apply(*args)

    compiled = jax.jit(apply)
    inputs = inputs_as(case, jnp.float32)
    first = compiled(params, state, inputs, KEY)
    compiled(jax.tree.map(lambda p: p + 1, params), first[1], inputs, jax.random.key(4))
    assert len(traces) == 1
    assert_trees_close(first, case.apply(params, state, inputs, KEY), rtol=case.tolerance)


def test_state_keeps_structure_shapes_and_dtypes(case):
    params, state = case.init()
    before = jax.tree.map(np.array, state)
    _, new_state = compiled(case)(params, state, inputs_as(case, jnp.bfloat16), KEY)
    shapes = jax.tree.map(lambda s: (s.shape, s.dtype), state)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), new_state) == shapes
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, state), before)


def test_every_parameter_is_read(case):
    params, state = case.init()
    inputs = inputs_as(case, jnp.float32)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    apply = compiled(case)
    for index, (path, leaf) in enumerate(leaves):
        name = "/".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path)
        poisoned = [value for _, value in leaves]
        poisoned[index] = jnp.full_like(leaf, jnp.nan)
        outputs, _ = apply(jax.tree.unflatten(jax.tree.structure(params), poisoned), state, inputs, KEY)
        read = any(bool(jnp.any(jnp.isnan(leaf))) for leaf in jax.tree.leaves(outputs) if is_floating(leaf))
        assert read == (name not in case.unread), name


def test_vmap_equals_a_loop(case):
    params, state = case.init()
    inputs = inputs_as(case, jnp.float32)
    scales = [1.0, 0.5, -0.75]
    scaled = [jax.tree.map(lambda a, s=s: a * s if is_floating(a) else a, inputs) for s in scales]
    keys = jax.random.split(KEY, len(scales))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scaled)
    apply = compiled(case)
    mapped = jax.jit(jax.vmap(lambda x, key: case.apply(params, state, x, key)))(stacked, keys)
    looped = [apply(params, state, x, key) for x, key in zip(scaled, keys, strict=True)]
    assert_trees_close(mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped), rtol=1e-4, atol=1e-5)


def test_vmap_over_parameters_equals_a_loop(case):
    params, state = case.init()
    inputs = inputs_as(case, jnp.float32)
    scaled = [jax.tree.map(lambda p, s=s: p * s, params) for s in (1.0, 0.8)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *scaled)
    apply = compiled(case)
    mapped = jax.jit(jax.vmap(lambda p: case.apply(p, state, inputs, KEY), axis_size=2))(stacked)
    looped = [apply(p, state, inputs, KEY) for p in scaled]
    assert_trees_close(mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped), rtol=1e-4, atol=1e-5)


def test_bfloat16_input_gives_bfloat16_result_near_float32(case):
    params, state = case.init()
    inputs = inputs_as(case, jnp.bfloat16)
    low, _ = compiled(case)(params, state, inputs, KEY)
    rounded = jax.tree.map(lambda a: a.astype(jnp.float32) if is_floating(a) else a, inputs)
    full, _ = compiled(case)(params, state, rounded, KEY)
    for a, e in zip(jax.tree.leaves(low), jax.tree.leaves(full), strict=True):
        assert a.dtype == (jnp.bfloat16 if is_floating(e) else e.dtype)
        if not case.random:  # bf16 draws other random numbers
            scale = float(jnp.max(jnp.abs(e)))
            np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(e), atol=case.bf16_tolerance * scale)


def test_float64_input_gives_float64_result_near_float32(case):
    params, state = case.init()
    full, _ = compiled(case)(params, state, inputs_as(case, jnp.float32), KEY)
    with jax.enable_x64(True):
        wide, wide_state = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (params, state))
        wide_state = jax.tree.map(lambda w, s: w if is_floating(s) else s, wide_state, state)
        double, new_state = compiled(case)(wide, wide_state, inputs_as(case, jnp.float64), KEY)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(new_state) if is_floating(leaf))
        for a, e in zip(jax.tree.leaves(double), jax.tree.leaves(full), strict=True):
            assert a.dtype == (jnp.float64 if is_floating(e) else e.dtype)
            if not case.random:
                np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_and_agree_with_differences(case):
    if not case.differentiable:
        pytest.skip("not differentiable by design")
    with jax.enable_x64(True):
        params, state = case.init(jnp.float64)
        inputs = inputs_as(case, jnp.float64)
        leaves, structure = jax.tree.flatten((params, inputs))
        floating = [i for i, leaf in enumerate(leaves) if is_floating(leaf)]

        def scalar(values):
            replaced = list(leaves)
            for i, value in zip(floating, values, strict=True):
                replaced[i] = value
            p, x = jax.tree.unflatten(structure, replaced)
            outputs = jax.tree.leaves(case.apply(p, state, x, KEY)[0])
            return sum(jnp.sum(jnp.sin(o)) for o in outputs if is_floating(o))

        values = [leaves[i] for i in floating]
        value_and_gradients = jax.jit(jax.value_and_grad(scalar))
        _, gradients = value_and_gradients(values)
        assert all(bool(jnp.all(jnp.isfinite(g))) for g in gradients)
        generator = np.random.default_rng(5)
        direction = [jnp.asarray(generator.normal(size=v.shape)) for v in values]
        forward, _ = value_and_gradients([v + case.step * d for v, d in zip(values, direction, strict=True)])
        backward, _ = value_and_gradients([v - case.step * d for v, d in zip(values, direction, strict=True)])
        slope = sum(jnp.vdot(g, d) for g, d in zip(gradients, direction, strict=True))
        np.testing.assert_allclose(slope, (forward - backward) / (2 * case.step), rtol=1e-5, atol=1e-6)
