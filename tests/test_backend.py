"""The choice between fast and plain forms."""

import jax
import jax.numpy as jnp
import pytest

from jaxnets import backend
from tests.forms import switch_off, trace_for


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setattr(backend, "_PLAIN", frozenset())
    monkeypatch.setattr(backend, "_PLATFORM", None)


def test_the_platform_is_that_of_the_default_device():
    assert backend.platform() == {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}.get(jax.default_backend(), "gpu")
    with jax.default_device(jax.devices("cpu")[1]):
        assert backend.platform() == "cpu"


def test_the_default_device_is_a_key_of_every_cache_of_traced_functions():
    """Else `platform()` must not depend on it: a function would keep the form for the device that it was traced for."""
    seen = []

    def traced(x, _=None):
        seen.append(jax.config.jax_default_device)
        return 2 * x, None

    compiled, checkpointed = jax.jit(traced), jax.checkpoint(traced)
    for function in (compiled, checkpointed, lambda x: jax.lax.scan(traced, x, length=2)):
        seen.clear()
        for device in jax.devices("cpu")[:2]:
            with jax.default_device(device):
                jax.make_jaxpr(function)(jnp.ones(3))
                jax.make_jaxpr(function)(jnp.ones(3))
        assert list(dict.fromkeys(seen)) == jax.devices("cpu")[:2]


@pytest.mark.parametrize(("name", "expected"), [("cuda", "gpu"), ("gpu", "gpu"), ("tpu", "tpu"), ("cpu", "cpu")])
def test_the_environment_decides(monkeypatch, name, expected):
    trace_for(monkeypatch, name)
    assert backend.platform() == expected
    assert backend.fast_path("convolution", expected)
    assert not backend.fast_path("convolution", "another")


@pytest.mark.parametrize(
    ("plain", "on"), [("", True), ("pooling", True), ("pooling, convolution", False), ("all", False)]
)
def test_fast_forms_can_be_switched_off(monkeypatch, plain, on):
    trace_for(monkeypatch, "cpu")
    switch_off(monkeypatch, plain)
    assert backend.fast_path("convolution", "cpu") == on


@pytest.mark.parametrize("name", ["JAXNETS_PLAIN", "JAXNETS_PLATFORM"])
def test_the_environment_is_not_read_again(monkeypatch, name):
    before = backend.platform(), backend.fast_path("convolution", backend.platform())
    monkeypatch.setenv(name, "all" if name == "JAXNETS_PLAIN" else "tpu")
    assert (backend.platform(), backend.fast_path("convolution", backend.platform())) == before


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"may hold attention, .* or all, got \['convolutions'\]"):
        backend.plain_names("convolutions")
    with pytest.raises(ValueError, match=r"must be one of .* got 'npu'"):
        backend.platform_name("npu")
