"""Experiments run as users have JAX: with neither strict promotion nor strict ranks, which optax's schedules need."""

import jax
import pytest


@pytest.fixture(autouse=True)
def as_users_have_it():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
