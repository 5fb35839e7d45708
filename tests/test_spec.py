"""Specs and their initialization."""

import zlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import ArraySpec, count_parameters, init, nn, repeat_spec, subkey
from jaxnets.backend import plain_forms

KEY = jax.random.key(0)
NORMAL = jax.nn.initializers.normal(1.0)


def array(*shape, **settings):
    return ArraySpec(shape, NORMAL, **settings)


def test_adding_a_layer_leaves_the_others_unchanged():
    small = {"fc1": nn.linear_spec(4, 3), "fc2": nn.linear_spec(3, 2)}
    large = {"fc0": nn.linear_spec(4, 4), "fc2": small["fc2"], "zz": {"deep": array(5)}, "fc1": small["fc1"]}
    chex.assert_trees_all_equal(init(small, KEY)[0], {k: init(large, KEY)[0][k] for k in small})


def test_a_part_of_a_spec_starts_as_in_the_whole():
    spec = {"block": [{"fc": nn.linear_spec(4, 3)}, {"fc": nn.linear_spec(3, 4)}]}
    whole, _ = init(spec, KEY)
    part, _ = init(spec["block"][1], subkey(subkey(KEY, "block"), 1))
    chex.assert_trees_all_equal(part, whole["block"][1])


def test_every_array_has_its_own_key():
    params, _ = init({"a": array(100), "b": {"a": array(100)}, "c": [array(100), array(100)]}, KEY)
    stacked = np.stack(jax.tree.leaves(params))
    correlations = np.corrcoef(stacked) - np.eye(4)
    assert np.abs(correlations).max() < 0.4


def test_state_is_apart_and_keeps_only_what_holds_state():
    count = ArraySpec((), jax.nn.initializers.zeros, dtype=jnp.int32, is_state=True)
    spec = {"bn": {"scale": array(2), "mean": array(2, is_state=True), "count": count}, "fc": array(3), "none": {}}
    params, state = init(spec, KEY, dtype=jnp.bfloat16)
    assert jax.tree.map(lambda a: (a.shape, str(a.dtype)), params) == {
        "bn": {"scale": ((2,), "bfloat16")},
        "fc": ((3,), "bfloat16"),
        "none": {},
    }
    assert jax.tree.map(lambda a: (a.shape, str(a.dtype)), state) == {
        "bn": {"mean": ((2,), "float32"), "count": ((), "int32")}
    }
    assert init({"fc": array(3)}, KEY)[1] == {}


def test_lists_keep_their_positions_in_the_state():
    params, state = init([{"fc": array(2)}, {"bn": array(3, is_state=True)}], KEY)
    assert [sorted(block) for block in params] == [["fc"], []]
    assert state[0] == {}
    assert state[1]["bn"].shape == (3,)


def test_repeated_blocks_have_keys_of_their_own():
    spec = {"fc": array(4, 3)}
    stacked, _ = init(repeat_spec(spec, 3), KEY)
    array_key = subkey(subkey(KEY, "fc"), 2)
    np.testing.assert_allclose(stacked["fc"][2], jax.random.normal(array_key, (4, 3)), rtol=1e-6)
    assert repeat_spec(array(4, 3, axes=("in", "out")), 3).axes == ("layers", "in", "out")


@pytest.mark.parametrize("plain", ["", "init"])
def test_values_are_the_initializers_own(enter, plain):
    enter(plain_forms(plain))
    spec = {"fc": array(50, 20), "blocks": repeat_spec({"kernel": array(30)}, 3)}
    params, _ = init(spec, KEY)
    fc = jax.random.fold_in(KEY, zlib.crc32(b"fc"))
    kernel = jax.random.fold_in(jax.random.fold_in(KEY, zlib.crc32(b"blocks")), zlib.crc32(b"kernel"))
    rows = [jax.random.normal(jax.random.fold_in(kernel, i), (30,)) for i in range(3)]
    np.testing.assert_allclose(params["fc"], jax.random.normal(fc, (50, 20)), rtol=1e-6)
    np.testing.assert_allclose(params["blocks"]["kernel"], jnp.stack(rows), rtol=1e-6)


@pytest.mark.parametrize("spec", [array(4, 3), {"fc": array(4, 3)}, repeat_spec(array(3), 4)])
def test_initialization_can_be_transformed(spec):
    """Also where the key is a constant of the function that is traced, and where nothing is computed."""
    expected = init(spec, KEY)
    chex.assert_trees_all_close(jax.jit(lambda: init(spec, KEY))(), expected, rtol=1e-6)
    chex.assert_trees_all_close(jax.jit(lambda key: init(spec, key))(KEY), expected, rtol=1e-6)
    many = jax.vmap(lambda key: init(spec, key))(jnp.stack([KEY, jax.random.key(1)]))
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[0], many), expected, rtol=1e-6)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(lambda: init(spec, KEY)), expected)


def test_arrays_alike_are_compiled_once():
    """Initializing a deep network must not take longer to compile than a shallow one."""
    compiled = []

    def listen(event, duration_secs, **_):
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    def spec(layers):
        return [{"fc": array(17, 19), "block": repeat_spec(array(23), 2)} for _ in range(layers)]

    init(spec(1), KEY)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        init(spec(5), KEY)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


def test_counts_are_those_of_the_lectures_networks():
    pima = {"fc1": nn.linear_spec(8, 12), "fc2": nn.linear_spec(12, 8), "fc3": nn.linear_spec(8, 1)}
    assert count_parameters(pima) == 8 * 12 + 12 + 12 * 8 + 8 + 8 + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"block": [{"fc": 3}]}, r"got int at 'block/0/fc'"),
        ("fc", r"got str at '/'"),
    ],
)
def test_what_is_not_a_spec_is_refused_with_its_path(wrong, message):
    with pytest.raises(TypeError, match=message):
        init(wrong, KEY)


def test_bad_shapes_and_axes_are_refused():
    with pytest.raises(ValueError, match=r"non-negative integers, got \(3, -1\)"):
        ArraySpec((3, -1), NORMAL)
    with pytest.raises(ValueError, match=r"axes must name each axis of shape \(3,\) once"):
        ArraySpec((3,), NORMAL, axes=("in", "out"))
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        repeat_spec(array(3), 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_drawn_in_float32_and_rounded(dtype):
    """Orthogonal matrices come of a decomposition that knows no half precision."""
    spec = {"rnn": nn.lstm_spec(3, 4), "fc": nn.linear_spec(4, 4, kernel_init=nn.initializers.orthogonal())}
    half, full = (init(spec, KEY, dtype=kind)[0] for kind in (dtype, jnp.float32))
    for low, high in zip(jax.tree.leaves(half), jax.tree.leaves(full), strict=True):
        assert low.dtype == dtype
        np.testing.assert_array_equal(low, high.astype(dtype))
    for make in (nn.initializers.orthogonal, nn.initializers.delta_orthogonal):
        shape = (3, 3, 4, 4)
        np.testing.assert_array_equal(make()(KEY, shape, dtype), make()(KEY, shape, jnp.float32).astype(dtype))


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int16, jnp.int32])
def test_integers_are_drawn_in_their_own_dtype(dtype):
    def digits(key, shape, dtype):
        return jax.random.randint(key, shape, 0, 10, dtype)

    drawn, _ = init(ArraySpec((1000,), digits, dtype=dtype), jax.random.key(0))
    assert drawn.dtype == dtype
    assert sorted(set(drawn.tolist())) == list(range(10))
