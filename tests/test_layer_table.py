"""Every layer crossed with every property of the contract (docs/design.md)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.forms import float64
from tests.layer_table import CASES
from tests.oracles import quick_jit

KEY = jax.random.key(3)


class Compiled:
    """A case and what its properties share, so that each program is compiled once: parameters, state and `apply`.

    `apply` is compiled as users do it; `quick_apply` is for other dtypes than float32.
    """

    def __init__(self, case):
        self.case = case
        self.params, self.state = case.init()
        self.traces = 0
        self.apply = jax.jit(self._counted)
        self.quick_apply = quick_jit(case.apply)

    def _counted(self, params, state, inputs, key):
        self.traces += 1
        return self.case.apply(params, state, inputs, key)

    def inputs(self, dtype):
        """The inputs, floating ones in this dtype."""
        return jax.tree.map(lambda a: a.astype(dtype if is_floating(a) else dtype_of(a)), self.case.inputs)


@pytest.fixture(
    scope="module",  # so that pytest runs the tests of one case one after the other
    params=[pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in CASES],
)
def shared(request):
    return Compiled(request.param)


def is_floating(array):
    return jnp.issubdtype(array.dtype, jnp.floating)


def dtype_of(array):
    """The dtype that JAX gives to a numpy array."""
    return jax.dtypes.canonicalize_dtype(array.dtype)


def stack(trees):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def assert_trees_close(actual, expected, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(a, np.float64), np.asarray(e, np.float64)
        largest = np.max(np.abs(e), initial=1.0, where=np.isfinite(e))  # sums of large terms may end near zero
        np.testing.assert_allclose(a, e, rtol=rtol, atol=atol * largest)


def test_jit_equals_eager_and_does_not_retrace(shared):
    inputs = shared.inputs(jnp.float32)
    first = shared.apply(shared.params, shared.state, inputs, KEY)
    traces = shared.traces
    shared.apply(jax.tree.map(lambda p: p + 1, shared.params), first[1], inputs, jax.random.key(4))
    assert shared.traces == traces
    params, inputs = jax.device_put((shared.params, inputs))
    assert_trees_close(first, shared.case.apply(params, shared.state, inputs, KEY), rtol=shared.case.tolerance)


def test_state_keeps_structure_shapes_and_dtypes(shared):
    before = jax.tree.map(np.array, shared.state)
    _, new_state = shared.quick_apply(shared.params, shared.state, shared.inputs(jnp.bfloat16), KEY)
    shapes = jax.tree.map(lambda s: (s.shape, s.dtype), shared.state)
    assert jax.tree.map(lambda s: (s.shape, s.dtype), new_state) == shapes
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, shared.state), before)


def test_every_parameter_is_read(shared):
    inputs = shared.inputs(jnp.float32)
    leaves = jax.tree_util.tree_leaves_with_path(shared.params)
    for index, (path, leaf) in enumerate(leaves):
        name = "/".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path)
        poisoned = [value for _, value in leaves]
        poisoned[index] = np.full_like(leaf, np.nan)
        params = jax.tree.unflatten(jax.tree.structure(shared.params), poisoned)
        outputs, _ = shared.apply(params, shared.state, inputs, KEY)
        read = any(np.isnan(leaf).any() for leaf in jax.tree.leaves(outputs) if is_floating(leaf))
        assert read == (name not in shared.case.unread), name


def test_vmap_equals_a_loop(shared):
    params, state, inputs = shared.params, shared.state, shared.inputs(jnp.float32)
    scales = np.array([1.0, 0.5, -0.75], np.float32)
    scaled = [jax.tree.map(lambda a, s=s: a * s if is_floating(a) else a, inputs) for s in scales]
    keys = jax.random.split(KEY, len(scales))
    mapped = quick_jit(jax.vmap(lambda x, key: shared.case.apply(params, state, x, key)))(stack(scaled), keys)
    looped = [shared.apply(params, state, x, key) for x, key in zip(scaled, keys, strict=True)]
    assert_trees_close(mapped, stack(looped), rtol=1e-4, atol=1e-5)


def test_vmap_over_parameters_equals_a_loop(shared):
    state, inputs = shared.state, shared.inputs(jnp.float32)
    scaled = [jax.tree.map(lambda p, s=s: p * s, shared.params) for s in np.array([1.0, 0.8], np.float32)]
    mapped = quick_jit(jax.vmap(lambda p: shared.case.apply(p, state, inputs, KEY), axis_size=2))(stack(scaled))
    looped = [shared.apply(p, state, inputs, KEY) for p in scaled]
    assert_trees_close(mapped, stack(looped), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_input_gives_such_a_result_near_float32(shared, dtype):
    inputs = shared.inputs(dtype)
    low, _ = shared.quick_apply(shared.params, shared.state, inputs, KEY)
    rounded = jax.tree.map(lambda a: a.astype(np.float32) if is_floating(a) else a, inputs)
    full, _ = shared.apply(shared.params, shared.state, rounded, KEY)
    for a, e in zip(jax.tree.leaves(low), jax.tree.leaves(full), strict=True):
        assert a.dtype == (dtype if is_floating(e) else e.dtype)
        if not shared.case.random:  # half precision draws other random numbers
            tolerance = shared.case.bf16_tolerance * (1 if dtype == jnp.bfloat16 else 1 / 4) * np.max(np.abs(e))
            np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(e), atol=tolerance)


def test_float64_arrays_of_numpy_are_taken_as_float32_without_a_warning(shared):
    """As `jnp.asarray` takes them, if JAX has no float64. A warning is an error in all tests."""

    def shapes(inputs):
        return jax.eval_shape(lambda: shared.case.apply(shared.params, shared.state, inputs, KEY))

    wide = jax.tree.map(lambda a: np.asarray(a, np.float64 if is_floating(a) else a.dtype), shared.case.inputs)
    assert shapes(wide) == shapes(shared.inputs(jnp.float32))


def test_float64_input_gives_float64_result_near_float32(shared):
    full, _ = shared.apply(shared.params, shared.state, shared.inputs(jnp.float32), KEY)
    with float64():
        wide, state = jax.tree.map(
            lambda a: np.asarray(a, np.float64) if is_floating(a) else a, (shared.params, shared.state)
        )
        double, new_state = shared.quick_apply(wide, state, shared.inputs(jnp.float64), KEY)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(new_state) if is_floating(leaf))
        for a, e in zip(jax.tree.leaves(double), jax.tree.leaves(full), strict=True):
            assert a.dtype == (jnp.float64 if is_floating(e) else e.dtype)
            if not shared.case.random:
                np.testing.assert_allclose(np.asarray(a), np.asarray(e), rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_and_agree_with_differences(shared):
    case = shared.case
    if not case.differentiable:
        pytest.skip("not differentiable by design")
    with float64():
        params, state = case.init(np.float64)
        leaves, structure = jax.tree.flatten((params, shared.inputs(jnp.float64)))
        floating = [i for i, leaf in enumerate(leaves) if is_floating(leaf)]

        def scalar(values):
            replaced = list(leaves)
            for i, value in zip(floating, values, strict=True):
                replaced[i] = value
            p, x = jax.tree.unflatten(structure, replaced)
            outputs = jax.tree.leaves(case.apply(p, state, x, KEY)[0])
            return sum(jnp.sum(jnp.sin(o)) for o in outputs if is_floating(o))

        values = [leaves[i] for i in floating]
        value_and_gradients = quick_jit(jax.value_and_grad(scalar))
        _, gradients = value_and_gradients(values)
        assert all(np.isfinite(g).all() for g in gradients)
        generator = np.random.default_rng(5)
        direction = [generator.normal(size=v.shape) for v in values]
        forward, _ = value_and_gradients([v + case.step * d for v, d in zip(values, direction, strict=True)])
        backward, _ = value_and_gradients([v - case.step * d for v, d in zip(values, direction, strict=True)])
        slope = sum(np.vdot(g, d) for g, d in zip(gradients, direction, strict=True))
        np.testing.assert_allclose(slope, (forward - backward) / (2 * case.step), rtol=1e-5, atol=1e-6)
