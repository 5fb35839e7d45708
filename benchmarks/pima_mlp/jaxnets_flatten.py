"""jaxnets with the optimizer's update of all arrays as one, by `optax.flatten`."""

import functools

import optax

from benchmarks.pima_mlp import jaxnets

prepare = functools.partial(jaxnets.prepare, optimizer=optax.flatten(optax.adam(1e-3)))
