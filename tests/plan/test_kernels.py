"""The arithmetic of splash attention, counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from jaxnets import backend, nn
from jaxnets.plan.kernels import kernels_of

BATCH, TIME, HEADS = 2, 2048, 3


@pytest.mark.parametrize(("causal", "share"), [(True, 10 / 16), (False, 1)])  # of the tiles of 512
@pytest.mark.parametrize("head_dim", [64, 128])  # a matrix unit of 128 lanes takes as long for 64
def test_attention_and_its_gradient(causal, share, head_dim):
    def total(queries, keys, values):
        y = nn.dot_product_attention(queries, keys, values, causal=causal, implementation="splash")
        return jnp.sum(y.astype(jnp.float32))

    shape = jax.ShapeDtypeStruct((BATCH, TIME, HEADS, head_dim), jnp.bfloat16)
    with backend.trace_for("tpu"):
        jaxpr = jax.make_jaxpr(jax.grad(total, argnums=(0, 1, 2)))(shape, shape, shape)
    found = kernels_of(jaxpr, lanes=128)
    product = 2 * BATCH * HEADS * TIME * TIME * 128
    assert found.runs == 3
    # forward 2; gradients of keys and values 4, of queries 3: the scores and their gradient are computed in both
    assert found.flops == pytest.approx(share * (2 + 4 + 3) * product)
