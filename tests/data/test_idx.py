import gzip
import math
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from jaxnets.data import parse_idx, read_idx

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
FORMATS = {"u1": "B", "i1": "b", "i2": "h", "i4": "i", "f4": "f", "f8": "d"}


def idx_bytes(array):
    """Written with struct, one number after the other."""
    kind = array.dtype.str[1:]
    header = bytes([0, 0, CODES[kind], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + struct.pack(f">{array.size}{FORMATS[kind]}", *array.ravel().tolist())


any_array = st.sampled_from(sorted(CODES)).flatmap(
    lambda kind: arrays(
        np.dtype(kind), array_shapes(max_dims=4, max_side=4), elements={"allow_nan": False} if kind[0] == "f" else None
    )
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(any_array)
def test_round_trip(array):
    result = parse_idx(idx_bytes(array))
    np.testing.assert_array_equal(result, array)
    assert result.dtype == array.dtype
    assert result.flags.writeable


@settings(deadline=None, max_examples=60, derandomize=True)
@given(any_array, st.data())
def test_every_cut_and_every_extension_is_an_error(array, data):
    content = idx_bytes(array)
    with pytest.raises(ValueError, match="file"):
        parse_idx(content[: data.draw(st.integers(0, len(content) - 1))], "file")
    with pytest.raises(ValueError, match="bytes where its header"):
        parse_idx(content + data.draw(st.binary(min_size=1, max_size=9)))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda tail: b"\0\0\x08" + tail)))
def test_any_bytes_give_an_array_or_a_value_error(content):
    try:
        array = parse_idx(content)
    except ValueError:
        return
    assert len(content) == 4 + 4 * array.ndim + math.prod(array.shape) * array.itemsize


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x80\x04\x95\x00", "begins with 80 04 95 00"),  # a pickle
        (b"\0\0\x0a\x01", "not an IDX file"),
        (b"\0\0\x08\x00", "0 axes"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "255 axes"),
        (b"\0\0\x08\x02\0\0\0\x01", "cut off in its header: 8 bytes where 12"),
        (b"\0\0\x08\x01\0\0\0\0", "has no elements"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"requires 79,228,162,\d+"),
    ],
)
def test_errors(content, message):
    with pytest.raises(ValueError, match=message):
        parse_idx(content)


def test_read_plain_and_compressed(tmp_path):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    (tmp_path / "a.idx").write_bytes(idx_bytes(array))
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(idx_bytes(array)))
    np.testing.assert_array_equal(read_idx(tmp_path / "a.idx"), array)
    np.testing.assert_array_equal(read_idx(str(tmp_path / "a.idx.gz")), array)


def test_a_small_file_that_decompresses_to_much_is_refused(tmp_path):
    content = idx_bytes(np.zeros((1000, 1000), np.uint8))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(content))
    assert (tmp_path / "bomb.gz").stat().st_size < 5000
    with pytest.raises(ValueError, match="more than the expected 999,999 bytes"):
        read_idx(tmp_path / "bomb.gz", max_bytes=999_999)


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
def test_the_memory_is_that_of_the_file_not_of_the_limit(tmp_path, name):
    content = idx_bytes(np.arange(6, dtype=np.int32))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    tracemalloc.start()
    try:
        read_idx(tmp_path / name, max_bytes=1 << 40)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_damaged_compression(tmp_path):
    whole = gzip.compress(idx_bytes(np.arange(300, dtype=np.int32)))
    for content in (whole[:-20], b"not gzip at all", whole[:50] + b"xyz" + whole[53:], b""):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"gzip file|begins with nothing"):
            read_idx(tmp_path / "a.gz")
