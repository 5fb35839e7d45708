"""cuDNN's attention inside `shard_map`, over all GPUs at hand; skipped where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.kernels.attention import Split, attend
from jaxnets.sharding import make_mesh

pytestmark = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs an NVIDIA GPU")


@pytest.mark.parametrize("axes", [("batch",), ("heads",), ("batch", "heads")])
def test_each_device_runs_cudnn_and_finds_what_jax_does_in_float32(axes):
    mesh = make_mesh({name: jax.device_count() if name == axes[0] else 1 for name in axes})
    split = Split(mesh, *((name,) if name in axes else () for name in ("batch", "heads")))
    draw = np.random.default_rng(0)
    size = 8 * jax.device_count()
    queries, keys, values, direction = (
        jnp.asarray(draw.normal(size=(size, 128, size, 64)), jnp.bfloat16) for _ in range(4)
    )

    def sharded(*arrays):
        return attend("cudnn", *arrays, mask=None, causal=True, scale=0.125, split=split)

    def plain(*arrays):
        wide = (array.astype(jnp.float32) for array in arrays)
        return jax.nn.dot_product_attention(*wide, is_causal=True, scale=0.125)

    def gradients(function):
        def projected(*arrays):
            y = function(*arrays).astype(jnp.float32)
            return jnp.vdot(y, direction.astype(jnp.float32)), y

        return jax.jit(jax.grad(projected, argnums=(0, 1, 2), has_aux=True))

    compiled = gradients(sharded).lower(queries, keys, values).compile()
    assert "fmha" in compiled.as_text()
    with jax.default_matmul_precision("highest"):
        expected = gradients(plain)(queries, keys, values)
    for actual, exact in zip(jax.tree.leaves(compiled(queries, keys, values)), jax.tree.leaves(expected), strict=True):
        gap = np.linalg.norm(np.asarray(actual, np.float64) - np.asarray(exact, np.float64))
        assert gap < 0.01 * np.linalg.norm(np.asarray(exact, np.float64))
