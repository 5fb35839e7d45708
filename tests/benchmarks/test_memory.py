"""`fit` needs the memory of parameters, gradients, optimizer and activations, and no more than a tenth beside it."""

import jax
import pytest

from benchmarks.memory import measure, networks

NETWORKS = {network.name: network for network in networks()}
WITHIN = ("mlp, norm", "lenet5", "vae", "vit", "gpt, dropout", "llama")
"""Networks of different layers; the log has the whole table, also those that need more."""
pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="of the CPU backend")


@pytest.fixture(autouse=True)
def permissive():
    """Adam's numbers are promoted."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in WITHIN[:2] else [pytest.mark.slow]) for name in WITHIN]
)
def test_the_peak_is_within_a_tenth_of_what_cannot_be_done_without(name):
    used = measure(NETWORKS[name])
    assert used.peak < 1.1 * used.bound


@pytest.mark.slow
def test_remat_saves_the_activations_of_few_blocks_too():
    """A network of four, which `repeat` writes out without it."""
    kept, computed_again = (measure(NETWORKS[name]) for name in ("gpt", "gpt, remat"))
    assert computed_again.peak < 0.6 * kept.peak
