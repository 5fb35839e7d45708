"""What a fast form must allow: every transformation of JAX, with the results of the plain form."""

import jax
import jax.numpy as jnp


def transformed(f, a, b, da, db, weights):
    """The results of every transformation of `f(a, b)`, with tangents `da` and `db`."""

    def loss(a, b):
        return jnp.vdot(weights, jnp.sin(f(a, b)))

    def hessian_vector(a, b):
        return jax.jvp(jax.grad(loss, (0, 1)), (a, b), (da, db))[1]

    def slope(a, b):
        gradients = jax.grad(loss, (0, 1))(a, b)
        return jnp.vdot(gradients[0], da) + jnp.vdot(gradients[1], db)

    def turn(carry, _):
        gradients = jax.grad(loss, (0, 1))(*carry)
        return jax.tree.map(lambda v, g: v - 0.1 * g, carry, gradients), loss(*carry)

    two_a, two_b = jnp.stack([a, da]), jnp.stack([b, db])
    gradient = jax.grad(loss, (0, 1))
    return {
        "value": f(a, b),
        "gradient": gradient(a, b),
        "gradient, second constant": jax.grad(loss)(a, b),
        "gradient, first constant": jax.grad(loss, 1)(a, b),
        "jvp": jax.jvp(f, (a, b), (da, db)),
        "jvp, second constant": jax.jvp(lambda a: f(a, b), (a,), (da,)),
        "jvp, first constant": jax.jvp(lambda b: f(a, b), (b,), (db,)),
        "vmap over both": jax.vmap(gradient)(two_a, two_b),
        "vmap over the first": jax.vmap(gradient, (0, None))(two_a, b),
        "vmap over the second": jax.vmap(gradient, (None, 0))(a, two_b),
        "forward over reverse": hessian_vector(a, b),
        "reverse over reverse": jax.grad(slope, (0, 1))(a, b),
        "checkpoint": jax.grad(jax.checkpoint(loss), (0, 1))(a, b),
        "scan": jax.lax.scan(turn, (a, b), length=3),
    }
