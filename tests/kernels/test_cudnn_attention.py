"""Which attention cuDNN computes, by JAX's own conditions."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxnets import nn
from jaxnets.backend import trace_for
from jaxnets.kernels import attention
from jaxnets.kernels.attention import refused_by_cudnn
from tests.oracles import permissive_promotion

LENGTHS = [(1, 1), (1, 1000), (2, 2), (2, 1000), (64, 77), (77, 64), (197, 197), (198, 198), (1024, 1024)]


@pytest.fixture
def device(monkeypatch):
    """Make JAX's own conditions for cuDNN, and ours, those of a CUDA device of a compute capability."""
    conditions = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    names = ("check_cudnn_version", "check_compute_capability", "is_cuda_compute_capability_equal")
    if not all(hasattr(conditions, name) for name in names):
        pytest.skip("this JAX has no such conditions")

    def become(capability):
        found = (lambda: 91_100), (lambda least: capability >= float(least)), (lambda one: capability == float(one))
        for name, function in zip(names, found, strict=True):
            monkeypatch.setattr(conditions, name, function)
        monkeypatch.setattr(attention, "cuda_compute_capability", lambda: capability)

    return become


def is_taken(function, *arrays):
    """Whether a function and its gradient can be traced for these shapes."""

    def total(*arrays):
        return jnp.sum(function(*arrays).astype(jnp.float32))

    try:
        jax.eval_shape(jax.value_and_grad(total, (0, 1, 2)), *arrays)
        jax.eval_shape(function, *arrays)
    except (NotImplementedError, ValueError):
        return False
    return True


@pytest.mark.parametrize("capability", [8.0, 8.9, 9.0])
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_cudnn_is_refused_where_jax_refuses_it(device, capability, dtype):
    """JAX checks while it traces a function and its gradient, so also without a GPU."""
    device(capability)
    cases = [(lengths, 64) for lengths in LENGTHS] + [((64, 64), size) for size in (4, 8, 60, 128, 136, 256, 264)]
    for lengths, head_dim in cases:
        queries, keys = (jax.ShapeDtypeStruct((2, length, 3, head_dim), dtype) for length in lengths)

        def by_jax(*arrays):
            return jax.nn.dot_product_attention(*arrays, implementation="cudnn")

        def ours(*arrays, chosen=None):
            return nn.dot_product_attention(*arrays, implementation=chosen)

        taken = is_taken(by_jax, queries, keys, keys)
        assert (refused_by_cudnn(dtype, head_dim, lengths, capability) is None) == taken, (lengths, head_dim)
        assert is_taken(functools.partial(ours, chosen="cudnn"), queries, keys, keys) == taken, (lengths, head_dim)
        with trace_for("gpu"), permissive_promotion():
            assert is_taken(ours, queries, keys, keys)  # in another form, where cuDNN has none


@pytest.mark.parametrize(
    ("lengths", "head_dim", "dtype", "capability", "message"),
    [
        ((1, 1000), 64, jnp.float16, 9.0, "needs even numbers of queries and of keys, at least 2, got 1 and 1000"),
        ((64, 64), 60, jnp.float16, 9.0, "needs head_dim to be a multiple of 8 and at most 256 on this device, got 60"),
        ((64, 64), 64, jnp.float32, 9.0, "needs bfloat16 or float16, got float32"),
        ((64, 64), 64, jnp.float16, 7.5, r"needs a CUDA device of compute capability 8\.0 or later, got 7\.5"),
        ((64, 64), 64, jnp.float16, None, r"compute capability 8\.0 or later, there is none; leave implementation out"),
    ],
)
def test_errors_say_what_cudnn_needs(monkeypatch, lengths, head_dim, dtype, capability, message):
    monkeypatch.setattr(attention, "cuda_compute_capability", lambda: capability)
    queries, keys = (jnp.ones((2, length, 3, head_dim), dtype) for length in lengths)
    with pytest.raises(ValueError, match=message):
        nn.dot_product_attention(queries, keys, keys, implementation="cudnn")


@pytest.mark.parametrize("shape", [(0, 4, 2, 8), (2, 0, 2, 8)])
def test_empty_arrays_do_not_go_to_a_kernel(shape, monkeypatch, enter):
    enter(trace_for("gpu"))
    monkeypatch.setattr(attention, "cuda_compute_capability", lambda: 9.0)
    queries, keys = jnp.ones(shape, jnp.bfloat16), jnp.ones((shape[0], 4, 2, 8), jnp.bfloat16)
    assert nn.dot_product_attention(queries, keys, keys).shape == shape
