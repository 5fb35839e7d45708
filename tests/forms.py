"""Marks of tests for one backend or a number of devices."""

import jax
import pytest

ON_CPU = jax.default_backend() == "cpu"
needs_cpu = pytest.mark.skipif(not ON_CPU, reason="tests a form or a setting for CPUs")


def needs_devices(count):
    """Skip a test where there are fewer devices, as on a machine with one GPU."""
    return pytest.mark.skipif(jax.device_count() < count, reason=f"needs {count} devices")
