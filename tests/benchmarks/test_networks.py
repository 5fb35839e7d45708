"""The programs of larger networks, with a few channels: equal losses from equal weights in three libraries."""

import importlib

import jax
import pytest

from benchmarks.one_step import TOLERANCES, two_losses

PEERS = ("jaxnets", "flax_linen", "pytorch")
SMALL = {
    "segmentation_unet": {"BATCH": 2, "SIZE": (8, 12), "WIDTH": 4, "LEVELS": 2},
    "dcgan": {"BATCH": 3, "NOISE": 5, "WIDTH": 2},
    "diffusion_unet": {"BATCH": 3, "SIZE": 6, "FEATURES": 4, "GROUPS": 2},
    "clip": {"BATCH": 4, "SIZE": (16, 8), "STEM": (4, 4), "VOCABULARY": 9, "LAYERS": 1, "HEADS": 2, "FEATURES": 8},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_programs_agree(monkeypatch, name):
    case = importlib.import_module(f"benchmarks.{name}")
    for setting, value in {"STEPS": 1, "BATCHES": 1, **SMALL[name]}.items():
        monkeypatch.setattr(case, setting, value)
    found = {}
    for peer in PEERS:
        program = importlib.import_module(f"benchmarks.{name}.{peer}")
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            found[peer] = two_losses(program.prepare(case.weights(), *case.data()).run)
    for peer in PEERS[1:]:
        for theirs, ours, tolerance in zip(found[peer], found["jaxnets"], TOLERANCES.values(), strict=True):
            assert theirs == pytest.approx(ours, rel=tolerance), peer
