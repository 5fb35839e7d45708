"""Other forms of layers than those for the backend at hand, for comparisons of both in one process."""

import jax
import pytest

from jaxnets import backend

ON_CPU = jax.default_backend() == "cpu"
needs_cpu = pytest.mark.skipif(not ON_CPU, reason="tests a form or a setting for CPUs")


def needs_devices(count):
    """Skip a test where there are fewer devices, as on a machine with one GPU."""
    return pytest.mark.skipif(jax.device_count() < count, reason=f"needs {count} devices")


def switch_off(monkeypatch, names):
    """Trace as in a process that was started with `JAXNETS_PLAIN=names`; functions traced before keep their form."""
    monkeypatch.setattr(backend, "_PLAIN", backend.plain_names(names))


def trace_for(monkeypatch, platform):
    """Trace as in a process that was started with `JAXNETS_PLATFORM=platform`; functions traced before keep theirs."""
    monkeypatch.setattr(backend, "_PLATFORM", backend.platform_name(platform))
