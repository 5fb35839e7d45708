"""Marks of tests for one backend or a number of devices, and double precision."""

import os

import jax
import jax.experimental
import pytest

ON_CPU = jax.default_backend() == "cpu"
needs_cpu = pytest.mark.skipif(not ON_CPU, reason="tests a form or a setting for CPUs")


def needs_devices(count):
    """Skip a test where there are fewer devices, as on a machine with one GPU."""
    return pytest.mark.skipif(jax.device_count() < count, reason=f"needs {count} devices")


def has_cpu():
    """Whether JAX has a CPU device, beside others or alone: its callbacks need one."""
    try:
        return bool(jax.local_devices(backend="cpu"))
    except RuntimeError:
        return False


needs_callbacks = pytest.mark.skipif(not has_cpu(), reason="callbacks need a CPU device: JAX_PLATFORMS=cuda,cpu")
DETERMINISTIC = ("--xla_gpu_deterministic_ops=true", "--xla_gpu_exclude_nondeterministic_ops=true")
needs_fixed_order = pytest.mark.skipif(
    jax.default_backend() == "gpu" and not any(flag in os.environ.get("XLA_FLAGS", "") for flag in DETERMINISTIC),
    reason="GPUs add to rows in any order: XLA_FLAGS=--xla_gpu_deterministic_ops=true",
)


def float64():
    """Compute in 64 bits within a `with` block."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return jax.experimental.enable_x64()  # jax 0.7
