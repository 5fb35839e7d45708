"""The choice between fast and plain forms."""

import functools

import jax
import jax.numpy as jnp
import pytest

from jaxnets import backend, nn
from jaxnets.backend import plain_forms, platform, trace_for
from tests.forms import needs_cpu


@pytest.fixture(autouse=True)
def no_environment():
    with backend._PLAIN(frozenset()), backend._PLATFORM(None):
        yield


def test_the_platform_is_that_of_the_default_device():
    assert backend.platform() == {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}.get(jax.default_backend(), "gpu")
    with jax.default_device(jax.devices("cpu")[1]):
        assert backend.platform() == "cpu"


def traced_in(contexts, look):
    """What `look` returns while functions are traced in each of the contexts, in turns and more than once.

    The functions are the same in all of them, so whatever JAX's caches do not tell apart is seen once only.
    """
    seen = []

    def traced(x, _=None):
        seen.append(look())
        return 2 * x, None

    compiled, checkpointed = jax.jit(traced), jax.checkpoint(traced)
    for function in (compiled, checkpointed, lambda x: jax.lax.scan(traced, x, length=2)):
        seen.clear()
        for context in contexts * 2:
            with context():
                jax.make_jaxpr(function)(jnp.ones(3))
        yield list(dict.fromkeys(seen))


def test_the_default_device_is_a_key_of_every_cache_of_traced_functions():
    """Else `platform()` must not depend on it: a function would keep the form for the device that it was traced for."""
    devices = jax.devices("cpu")[:2]
    contexts = [functools.partial(jax.default_device, device) for device in devices]
    for seen in traced_in(contexts, lambda: jax.config.jax_default_device):
        assert seen == devices


def test_the_chosen_forms_are_a_key_of_every_cache_of_traced_functions():
    contexts = [functools.partial(plain_forms, names) for names in ("", "convolution", "all")]
    for seen in traced_in(contexts, lambda: backend._PLAIN.value):
        assert seen == [frozenset(), frozenset({"convolution"}), frozenset(backend.FAST_PATHS)]
    contexts = [functools.partial(trace_for, name) for name in ("cpu", "tpu")]
    for seen in traced_in(contexts, platform):
        assert seen == ["cpu", "tpu"]


@needs_cpu
def test_a_compiled_function_is_plain_within_the_block_alone():
    compiled = jax.jit(nn.conv)
    params, x = {"kernel": jnp.ones((3, 3, 1, 1))}, jnp.ones((1, 8, 8, 1))
    for _ in range(2):
        assert "convolution_on_cpu" in str(compiled.trace(params, x).jaxpr)
        with plain_forms():
            assert "convolution_on_cpu" not in str(compiled.trace(params, x).jaxpr)


@pytest.mark.parametrize(("name", "expected"), [("cuda", "gpu"), ("gpu", "gpu"), ("tpu", "tpu"), ("cpu", "cpu")])
def test_the_platform_can_be_chosen(enter, name, expected):
    enter(trace_for(name))
    assert backend.platform() == expected
    assert backend.fast_path("convolution", expected)
    assert not backend.fast_path("convolution", "another")


@pytest.mark.parametrize(
    ("plain", "on"), [("", True), ("pooling", True), ("pooling, convolution", False), ("all", False)]
)
def test_fast_forms_can_be_switched_off(enter, plain, on):
    enter(trace_for("cpu"))
    enter(plain_forms(plain))
    assert backend.fast_path("convolution", "cpu") == on


@pytest.mark.parametrize("name", ["JAXNETS_PLAIN", "JAXNETS_PLATFORM"])
def test_the_environment_is_not_read_again(monkeypatch, name):
    before = backend.platform(), backend.fast_path("convolution", backend.platform())
    monkeypatch.setenv(name, "all" if name == "JAXNETS_PLAIN" else "tpu")
    assert (backend.platform(), backend.fast_path("convolution", backend.platform())) == before


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"the fast forms are attention, .*; got \['convolutions'\]"):
        plain_forms("convolutions")
    with pytest.raises(ValueError, match=r"must be one of .* got 'npu'"):
        trace_for("npu")
