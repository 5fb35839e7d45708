"""jaxnets: dot_product_attention, which takes cuDNN's kernel on NVIDIA GPUs."""

import jax
import jax.numpy as jnp

from benchmarks.gpu import attention as case
from benchmarks.peer import Peer
from jaxnets import nn


def prepare(weights, *arrays):
    queries, keys, values, direction = (jnp.asarray(array, jnp.bfloat16) for array in jax.device_put(arrays))

    def attend(queries, keys, values):
        return nn.dot_product_attention(queries, keys, values, causal=True)

    def scalar(queries, keys, values):
        y = attend(queries, keys, values)
        return jnp.vdot(y.astype(jnp.float32), direction.astype(jnp.float32)) / y.size

    def step(_, operands):
        value, gradients = jax.value_and_grad(scalar, argnums=(0, 1, 2))(*operands)
        operands = tuple(a + 1e-3 * g for a, g in zip(operands, gradients, strict=True))  # no step is left out
        return operands, value

    @jax.jit
    def repeated(operands):
        return jax.lax.fori_loop(0, case.STEPS, lambda i, operands: step(i, operands)[0], operands)

    def run(steps):
        for _ in range(steps // case.STEPS):
            jax.block_until_ready(repeated((queries, keys, values)))

        return 0.0

    def results():
        y = jax.jit(attend)(queries, keys, values)
        gradients = jax.jit(jax.grad(scalar, argnums=(0, 1, 2)))(queries, keys, values)
        sizes = [jnp.mean(jnp.abs(array.astype(jnp.float32))) for array in (y, *gradients)]
        return [float(sizes[0]), float(sum(sizes[1:])) * y.size]

    return Peer(run, results=results)
