"""Which form of attention is taken, and cuDNN's under every map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.backend import plain_forms, trace_for
from jaxnets.kernels import attention
from jaxnets.kernels.attention import choose_implementation, mapped_alike, with_mapped_cotangent
from tests.forms import needs_cpu
from tests.nn.test_attention import qkv
from tests.oracles import permissive_promotion


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("cudnn", {}),
        ("cudnn", {"dtype": jnp.float16, "compute_capability": 9.0, "head_dim": 128}),
        ("cudnn", {"strict": True}),
        ("xla", {"dtype": jnp.float32}),
        ("xla", {"dtype": jnp.float32, "strict": True}),
        ("einsum", {"head_dim": 60, "strict": True}),
        ("xla", {"head_dim": 60}),
        ("xla", {"head_dim": 136}),
        ("xla", {"head_dim": 136, "compute_capability": 9.0}),
        ("xla", {"lengths": (197, 197)}),  # a vision transformer's patches and its class token
        ("xla", {"lengths": (1, 1000)}),
        ("einsum", {"lengths": (1, 1000), "strict": True}),
        ("xla", {"compute_capability": 7.5}),  # Colab's T4
        ("xla", {"compute_capability": None}),  # an AMD GPU
        ("xla", {"masked": True}),
        ("xla", {"backend": None}),
        ("splash", {"backend": "tpu"}),
        ("einsum", {"backend": "tpu", "tiled": False}),
        ("einsum", {"backend": "tpu", "masked": True}),
        ("einsum", {"backend": "tpu", "dtype": jnp.float32}),
        ("einsum", {"backend": "cpu"}),
        ("blocks", {"backend": "cpu", "blocks": True}),
        ("blocks", {"backend": "cpu", "blocks": True, "masked": True, "dtype": jnp.float64}),
        ("einsum", {"backend": "cpu", "blocks": True, "dropping": True}),
        ("cudnn", {"blocks": True}),
        ("einsum", {"dropping": True}),
        ("einsum", {"dtype": jnp.float64, "backend": None}),
    ],
)
def test_choice_of_implementation(expected, changes):
    base = {"dtype": jnp.bfloat16, "head_dim": 64, "lengths": (512, 512), "masked": False, "dropping": False}
    base |= {"strict": False, "tiled": True, "blocks": False}
    assert choose_implementation(**{**base, "backend": "gpu", "compute_capability": 8.0, **changes}) == expected


@needs_cpu
def test_plain_cpu_attention_takes_the_form_of_jax_nn(monkeypatch, enter):
    calls = spy_on_jax(monkeypatch)
    inputs = [jnp.asarray(a) for a in qkv()]
    fast = nn.dot_product_attention(*inputs)
    assert not calls
    enter(plain_forms("attention"))
    np.testing.assert_allclose(nn.dot_product_attention(*inputs), fast, atol=1e-6)
    assert [call["implementation"] for call in calls] == ["xla"]


def test_an_nvidia_gpu_gets_cudnn_with_a_causal_flag(monkeypatch, enter):
    calls = spy_on_jax(monkeypatch)
    enter(trace_for("gpu"))
    monkeypatch.setattr(attention, "cuda_compute_capability", lambda: 8.9)
    q, k, v = (jnp.asarray(a, jnp.bfloat16) for a in qkv(queries=6, keys=6, leading=(2, 3)))
    y = nn.dot_product_attention(q, k, v, causal=True)
    with permissive_promotion():
        nn.dot_product_attention(q, k, v, causal=True, mask=jnp.ones((6, 6), bool))
    assert [call["implementation"] for call in calls] == ["cudnn", "xla"]
    assert calls[0]["is_causal"]
    assert calls[0]["mask"] is None
    expected = nn.dot_product_attention(q, k, v, causal=True, implementation="einsum")
    np.testing.assert_allclose(y.astype(jnp.float32), expected.astype(jnp.float32), atol=0.03)


def spy_on_jax(monkeypatch):
    """Record the settings of calls of `jax.nn.dot_product_attention`, and compute all by its plain form."""
    calls, original = [], jax.nn.dot_product_attention

    def spy(*args, **settings):
        calls.append(settings)
        return original(*args, **{**settings, "implementation": "xla"})

    monkeypatch.setattr(jax.nn, "dot_product_attention", spy)
    return calls


def test_arrays_for_cudnn_are_mapped_alike_and_along_the_first_axis():
    """cuDNN's batching rule (a stand-in here) accepts nothing else; values and gradients stay as they are."""
    seen = []

    @jax.custom_batching.custom_vmap
    def probe(*arrays):
        return arrays

    @probe.def_vmap
    def rule(size, mapped, *arrays):
        seen.append((mapped, [a.shape for a in arrays]))
        return arrays, tuple(mapped)

    x, y = jnp.arange(6.0).reshape(2, 3) - 1, jnp.ones((2, 3))
    results = jax.vmap(lambda a: probe(*mapped_alike((a, y))), in_axes=1)(x)
    assert seen == [([True, True], [(3, 2), (3, 2, 3)])]
    np.testing.assert_array_equal(results[0], x.T)
    np.testing.assert_array_equal(results[1], jnp.broadcast_to(y, (3, 2, 3)))
    gradient = jax.grad(lambda a: jnp.sum(a * mapped_alike((a, y))[0]))(x)
    np.testing.assert_array_equal(gradient, 2 * x)

    def cotangent(a):  # a linear loss: its cotangent depends on nothing that is mapped
        return jax.vjp(lambda z: with_mapped_cotangent(z, a), y)[1](jnp.ones((2, 3)))[0]

    seen.clear()
    ones = jax.vmap(lambda a: probe(cotangent(a)), in_axes=1)(x)[0]
    assert seen == [([True], [(3, 2, 3)])]
    np.testing.assert_array_equal(ones, 1)
