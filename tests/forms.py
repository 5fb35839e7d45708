"""Marks of tests for one backend or a number of devices, and double precision."""

import jax
import jax.experimental
import pytest

ON_CPU = jax.default_backend() == "cpu"
needs_cpu = pytest.mark.skipif(not ON_CPU, reason="tests a form or a setting for CPUs")


def needs_devices(count):
    """Skip a test where there are fewer devices, as on a machine with one GPU."""
    return pytest.mark.skipif(jax.device_count() < count, reason=f"needs {count} devices")


def float64():
    """Compute in 64 bits within a `with` block."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return jax.experimental.enable_x64()  # jax 0.7
