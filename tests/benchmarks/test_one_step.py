"""The comparison of losses that stands before every timing."""

import numpy as np
import pytest

from benchmarks import one_step, tiny_mlp
from benchmarks.gpu import speedrun

OURS = [2.1, -0.5]


@pytest.mark.parametrize(
    ("theirs", "quantity"),
    [
        ([2.101, -0.5], "the loss"),
        ([2.1, -0.51], "its change by a step"),
        ([2.1, 0.5], "its change by a step"),
        ([2.1, float("nan")], "its change by a step"),
    ],
)
def test_names_the_program_and_the_quantity_that_differs(monkeypatch, theirs, quantity):
    found = {"jaxnets": OURS, "flax_linen": OURS, "pytorch": theirs}
    monkeypatch.setattr(one_step, "measure", lambda case, peer: found[peer])
    with pytest.raises(RuntimeError, match=f"tiny_mlp/pytorch: {quantity} differs"):
        one_step.check("tiny_mlp", tuple(found))


def test_tells_the_largest_difference(monkeypatch):
    found = {"jaxnets": OURS, "flax_linen": [2.1, -0.501], "pytorch": [2.1001, -0.5001]}
    monkeypatch.setattr(one_step, "measure", lambda case, peer: found[peer])
    sentence = one_step.check("tiny_mlp", tuple(found))
    assert "the loss 2.1 (others within 5e-05 of it)" in sentence
    assert "its change by a step -0.5 (others within 0.002 of it)" in sentence


@pytest.mark.slow
def test_programs_of_three_libraries_agree_with_numpy(monkeypatch):
    monkeypatch.setattr(tiny_mlp, "BATCHES", 1)
    weights, (x, labels) = tiny_mlp.weights(), tiny_mlp.data()
    for i in (1, 2, 3):
        x = np.maximum(x, 0) if i > 1 else x
        x = x @ weights[f"fc{i}/kernel"] + weights[f"fc{i}/bias"]
    loss = np.mean(np.logaddexp(0, x[:, 0]) - labels * x[:, 0])
    sentence = one_step.check("tiny_mlp", ("jaxnets", "jaxnets_scan", "flax_linen", "pytorch"))
    assert f"the loss {loss:.6g} " in sentence


@pytest.mark.slow
def test_a_program_that_fails_is_named():
    with pytest.raises(RuntimeError, match=r"tiny_mlp/no_such_program failed:(.|\n)*ModuleNotFoundError"):
        one_step.check("tiny_mlp", ("jaxnets", "no_such_program"))


@pytest.mark.slow
def test_both_speedruns_take_the_same_first_step(monkeypatch):
    monkeypatch.setenv("JAXNETS_BENCHMARK_SMALL", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (loss, change), (their_loss, their_change) = (one_step.measure("gpu.speedrun", peer) for peer in speedrun.PEERS)
    np.testing.assert_allclose(their_loss, loss, rtol=1e-5)
    np.testing.assert_allclose(their_change, change, rtol=1e-3)
