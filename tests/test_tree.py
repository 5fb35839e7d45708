"""Paths, sizes and fingerprints of trees."""

import hashlib
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnets import count_parameters, init, nn
from jaxnets.tree import count, fingerprint, paths, tree_bytes

TREE = {"fc": {"kernel": np.array([[1.5, -2.0]], np.float32), "bias": np.array([3], np.int16)}}
# Written out by hand: JSON line, line feed, little-endian values; "bias" comes before "kernel".
TREE_BYTES = b'["fc/bias", "int16", [1]]\n' + struct.pack("<h", 3) + b'["fc/kernel", "float32", [1, 2]]\n'
TREE_BYTES += struct.pack("<2f", 1.5, -2.0)


def test_paths_are_in_the_order_of_the_tree():
    tree = {"b": [{"kernel": i} for i in range(11)], "a": (100, [200])}
    assert list(paths(tree).items())[:3] == [("a/0", 100), ("a/1/0", 200), ("b/0/kernel", 0)]
    assert list(paths(tree).values()) == jax.tree.leaves(tree)
    assert list(paths(tree))[-2:] == ["b/9/kernel", "b/10/kernel"]


def test_paths_that_coincide_are_refused():
    with pytest.raises(ValueError, match="two leaves have the path 'a/b'"):
        paths({"a": {"b": 1}, "a/b": 2})


def test_fingerprint_is_the_documented_hash():
    assert fingerprint(TREE) == hashlib.sha256(TREE_BYTES).hexdigest()


def test_fingerprint_does_not_depend_on_who_holds_the_values():
    expected = fingerprint(TREE)
    reordered = {"fc": {"bias": TREE["fc"]["bias"], "kernel": TREE["fc"]["kernel"]}}
    assert fingerprint(reordered) == expected
    assert fingerprint(jax.tree.map(jnp.asarray, TREE)) == expected
    assert fingerprint(jax.device_put(TREE, jax.devices()[-1])) == expected
    sharding = NamedSharding(Mesh(jax.devices()[:2], "d"), PartitionSpec(None, "d"))
    sharded = {"fc": {**TREE["fc"], "kernel": jax.device_put(TREE["fc"]["kernel"], sharding)}}
    assert fingerprint(sharded) == expected
    foreign = jax.tree.map(lambda a: a.astype(a.dtype.newbyteorder(">")), TREE)
    assert fingerprint(foreign) == expected
    in_fortran_order = {"x": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    assert fingerprint(in_fortran_order) == fingerprint({"x": np.arange(6.0).reshape(2, 3)})


def one_bit(array):
    flipped = array.copy()
    flipped.view(np.uint8).reshape(-1)[-1] ^= 1
    return flipped


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"x": one_bit(a)},
        lambda a: {"x": a.reshape(3, 2)},
        lambda a: {"x": a.view(np.int32)},
        lambda a: {"y": a},
        lambda a: {"x": {"x": a}},
        lambda a: [a],
        lambda a: {"x": a[:1], "y": a[1:]},
        lambda a: {"x": np.where(a == 0, np.float32(-0.0), a)},
    ],
)
def test_fingerprint_depends_on_bits_shape_dtype_and_path(change):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert fingerprint(change(array)) != fingerprint({"x": array})


def test_fingerprint_of_bfloat16_and_scalars():
    line = b'["x", "bfloat16", []]\n' + bytes([0xC0, 0x3F])  # 1.5 is 0x3FC0
    assert fingerprint({"x": jnp.asarray(1.5, jnp.bfloat16)}) == hashlib.sha256(line).hexdigest()


def test_fingerprint_of_keys():
    key = jax.random.key(7)
    line = b'["key", "key<threefry2x32>", []]\n' + struct.pack("<2I", 0, 7)
    assert fingerprint({"key": key}) == hashlib.sha256(line).hexdigest()
    assert fingerprint({"key": key}) != fingerprint({"key": jax.random.key_data(key)})
    assert fingerprint({"key": key}) != fingerprint({"key": jax.random.key(8)})


@pytest.mark.parametrize("leaf", [1.0, "text", np.array(["text", None], object)])
def test_fingerprint_refuses_what_is_not_an_array_of_numbers(leaf):
    with pytest.raises(TypeError, match="'block/x' must"):
        fingerprint({"block": {"x": leaf}})


def test_sizes():
    spec = {"fc1": nn.linear_spec(5, 3), "fc2": nn.linear_spec(3, 2)}
    params, _ = init(spec, jax.random.key(0))
    half, _ = init(spec, jax.random.key(0), dtype=jnp.bfloat16)
    assert count(params) == count_parameters(spec) == 26
    assert (tree_bytes(params), tree_bytes(half)) == (104, 52)
    assert tree_bytes(jax.eval_shape(lambda: params)) == 104
    assert (count({}), tree_bytes({})) == (0, 0)


def test_texts_have_no_fingerprint():
    with pytest.raises(TypeError, match="fingerprint: 'names' must hold numbers, got dtype str32"):
        fingerprint({"names": np.array(["x"])})
