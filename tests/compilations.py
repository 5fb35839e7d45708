"""How many programs XLA compiles."""

import contextlib

import jax


class Compilations:
    """Attributes: count, of programs so far."""

    count = 0


@contextlib.contextmanager
def count_compilations():
    """Count the programs that are compiled in the block; JAX reports one duration for each."""
    found = Compilations()

    def count(event, duration, **kwargs):
        found.count += active and event == "/jax/core/compile/backend_compile_duration"

    active = True
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        yield found
    finally:
        active = False  # older JAX has no public way to take one listener away
