"""The choice between fast and plain forms."""

import jax
import pytest

from jaxnets import backend


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.delenv("JAXNETS_PLAIN", raising=False)
    monkeypatch.delenv("JAXNETS_PLATFORM", raising=False)


def test_the_platform_is_that_of_the_default_device():
    assert backend.platform() == {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}.get(jax.default_backend(), "gpu")
    with jax.default_device(jax.devices("cpu")[1]):
        assert backend.platform() == "cpu"


@pytest.mark.parametrize(("name", "expected"), [("cuda", "gpu"), ("gpu", "gpu"), ("tpu", "tpu"), ("cpu", "cpu")])
def test_the_environment_decides(monkeypatch, name, expected):
    monkeypatch.setenv("JAXNETS_PLATFORM", name)
    assert backend.platform() == expected
    assert backend.fast_path("convolution", expected)
    assert not backend.fast_path("convolution", "another")


@pytest.mark.parametrize(
    ("plain", "on"), [("", True), ("pooling", True), ("pooling, convolution", False), ("all", False)]
)
def test_fast_forms_can_be_switched_off(monkeypatch, plain, on):
    monkeypatch.setenv("JAXNETS_PLATFORM", "cpu")
    monkeypatch.setenv("JAXNETS_PLAIN", plain)
    assert backend.fast_path("convolution", "cpu") == on


def test_unknown_names_are_refused(monkeypatch):
    monkeypatch.setenv("JAXNETS_PLAIN", "convolutions")
    with pytest.raises(ValueError, match=r"may hold attention, .* or all, got \['convolutions'\]"):
        backend.fast_path("convolution", "cpu")
    monkeypatch.setenv("JAXNETS_PLATFORM", "npu")
    with pytest.raises(ValueError, match=r"must be one of .* got 'npu'"):
        backend.platform()
