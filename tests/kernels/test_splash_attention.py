"""Splash attention, the kernel for TPUs, interpreted on CPU, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import models, nn
from jaxnets.backend import trace_for
from jaxnets.kernels.splash_attention import tiles
from tests.oracles import normal


def torch_attention(q, k, v, causal):
    repeats = q.shape[2] // k.shape[2]
    q, k, v = (t.transpose(1, 2) for t in (q, k.repeat_interleave(repeats, 2), v.repeat_interleave(repeats, 2)))
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)


@pytest.mark.parametrize(
    ("queries", "keys", "kv_heads", "features", "causal"),
    [(256, 256, 4, 64, True), (128, 384, 2, 40, False)],  # the second: grouped queries, a memory, an odd head
)
def test_values_and_gradients_equal_torch(queries, keys, kv_heads, features, causal):
    arrays = [normal(2, queries, 4, features), *(normal(2, keys, kv_heads, features, seed=i) for i in (1, 2))]
    cotangent = normal(2, queries, 4, features, seed=3)

    def attend(*arrays):
        return nn.dot_product_attention(*arrays, causal=causal, implementation="splash")

    y, backward = jax.vjp(attend, *(jnp.asarray(array, jnp.float32) for array in arrays))
    gradients = backward(jnp.asarray(cotangent, jnp.float32))
    tensors = [torch.tensor(array, dtype=torch.float32, requires_grad=True) for array in arrays]
    expected = torch_attention(*tensors, causal)
    expected.backward(torch.tensor(cotangent, dtype=torch.float32))
    np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-5)
    for got, tensor in zip(gradients, tensors, strict=True):
        np.testing.assert_allclose(got, tensor.grad.numpy(), atol=2e-5)


@pytest.mark.parametrize(
    ("time", "dtype", "devices", "taken"),
    [
        (1024, jnp.bfloat16, 1, True),
        (1000, jnp.bfloat16, 1, False),
        (1024, jnp.float32, 1, False),
        (1024, jnp.bfloat16, 8, False),  # the compiler cannot split the kernel
    ],
)
def test_a_network_for_one_tpu_takes_it(monkeypatch, enter, time, dtype, devices, taken):
    enter(trace_for("tpu"))
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    model = models.gpt(models.GPTConfig(50, time, layers=1, heads=1, features=64))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)
    ids = jax.ShapeDtypeStruct((1, time), jnp.int32)
    program = jax.make_jaxpr(lambda params, ids: model.apply(params, state, ids, train=False)[0])(params, ids)
    assert ("splash" in str(program)) is taken


def test_under_vmap_it_is_computed_for_each():
    q, k, v = (jnp.asarray(normal(3, 2, 128, 2, 32, seed=i), jnp.float32) for i in range(3))

    def attend(q, k, v):
        return nn.dot_product_attention(q, k, v, implementation="splash")

    got = jax.vmap(jax.grad(lambda *a: jnp.sum(attend(*a) ** 2)))(q, k, v)
    expected = jnp.stack([jax.grad(lambda *a: jnp.sum(attend(*a) ** 2))(*each) for each in zip(q, k, v, strict=True)])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_what_it_cannot_compute_is_refused():
    x = jnp.ones((1, 130, 1, 8))
    with pytest.raises(
        ValueError, match="multiples of 128, got 130 queries and 130 keys; pass implementation='einsum'"
    ):
        nn.dot_product_attention(x, x, x, implementation="splash")
    with pytest.raises(ValueError, match="takes causal=True but no mask"):
        nn.dot_product_attention(x, x, x, mask=jnp.ones((130, 130), bool), implementation="splash")
    assert not tiles(1152, 1100)
    assert not tiles(512, 2048)
    assert tiles(1152, 2048)
