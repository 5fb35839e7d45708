"""Keys by name."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import subkey


def test_a_name_is_folded_in_as_its_crc32():
    # 0x1C291CA3 is the CRC-32 of b"Hello World!" in the ZIP standard's test vectors.
    expected = jax.random.fold_in(jax.random.key(7), 0x1C291CA3)
    assert subkey(jax.random.key(7), "Hello World!") == expected


def test_keys_do_not_depend_on_the_process():
    program = (
        "import jax; from jaxnets import subkey; print(jax.random.key_data(subkey(jax.random.key(0), 'fc1')).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_numbers_may_be_traced():
    keys = jax.vmap(lambda i: subkey(jax.random.key(0), i))(jnp.arange(3))
    looped = [jax.random.fold_in(jax.random.key(0), i) for i in range(3)]
    np.testing.assert_array_equal(jax.random.key_data(keys), [jax.random.key_data(k) for k in looped])


@pytest.mark.parametrize("number", [-1, 2**32])
def test_numbers_that_do_not_fit_are_refused(number):
    with pytest.raises(ValueError, match=rf"subkey: a number must be from 0 to 2\*\*32 - 1, got {number}"):
        subkey(jax.random.key(0), number)


def test_a_traced_name_is_an_integer():
    with pytest.raises(TypeError, match="subkey: a name must be a string or an integer, got a traced float32"):
        jax.jit(lambda name: subkey(jax.random.key(0), name))(1.5)
