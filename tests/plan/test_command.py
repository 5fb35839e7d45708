"""The command line: what it refuses, and with which words."""

import dataclasses

import pytest

from jaxnets.__main__ import main
from jaxnets.plan import Plan, chips, plan_step
from jaxnets.plan.collectives import Collective
from jaxnets.plan.memory import Memory


@pytest.fixture
def refused(capsys):
    def call(*words):
        with pytest.raises(SystemExit) as stopped:
            main(list(words))
        assert stopped.value.code == 1
        return capsys.readouterr().err

    return call


@pytest.mark.parametrize("target", ["h100", "v5e", "v5e:4", "v5p:4x4", "v5e:0x4"])
def test_unknown_targets(target, refused):
    said = refused("plan", "x", "--target", target)
    assert said.startswith("jaxnets plan: the target must be")
    assert said.index("\n") == len(said) - 1
    assert said.endswith(f"got {target!r}\n")


def test_without_the_compiler_it_says_how_to_get_it(monkeypatch, refused):
    monkeypatch.setattr(chips.importlib.util, "find_spec", lambda name: None)
    said = refused("plan", "x", "--target", "v5e:1x1")
    assert said.startswith("jaxnets plan: the TPU compiler")
    assert "pip install --no-deps --target libtpu_folder 'libtpu" in said
    assert "\n  PYTHONPATH=libtpu_folder jaxnets plan ...\n" in said


@pytest.mark.parametrize("command", ["train", "plan", "playground", "prepare", "report", "compare"])
def test_help_shows_the_command_as_it_was_typed(command, capsys):
    """Not as one could type it too: the lines are for copying."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out
    assert f"jaxnets {command}" in said
    assert "python -m jaxnets" not in said


@pytest.mark.parametrize(("steps", "price"), [(0, None), (2.5, None), (1, -1.0), (1, 0.0), (1, float("nan"))])
def test_steps_and_price_are_positive(steps, price):
    with pytest.raises(ValueError, match=r"^plan: (steps|price) must be .*, got"):
        plan_step(lambda *_: None, (), (), target="v5e:1x1", steps=steps, price=price)


MEMORY = Memory(2**30, 2**31, 0, 0, 0, 2**30, None, 16 * 2**30)
PLAN = Plan(
    target="v5e:4x4",
    mesh={"data": 16},
    rules="FSDP",
    memory=MEMORY,
    flops=int(16 * 197e12),  # one second of all chips at their peak
    executed_flops=int(16 * 197e12),
    cycles=1_000_000_000,
    kernels=2,
    kernel_flops=197e12 / 3,
    collectives=(Collective("all-gather", 3, 2**30, 1.0),),
    batch=32,
    tokens=320,
    steps=1800,
    price=2.0,
)


def test_time_share_and_price_are_ranges():
    compute = 1e9 / (197e12 / 2**17) + 1 / 3  # 2 x 4 x 128 x 128 FLOPs a cycle
    assert PLAN.step_seconds == pytest.approx((1.0, compute + 1)) if compute < 1 else (compute, compute + 1)
    assert PLAN.mfu == pytest.approx((1 / (compute + 1), min(1.0, 1 / compute)))
    assert PLAN.run_price[1] == pytest.approx(1800 * (compute + 1) / 3600 * 16 * 2.0)
    shown = str(PLAN)
    assert "fits" in shown
    assert "all-gather" in shown


def test_what_does_not_fit_says_so():
    too_large = dataclasses.replace(PLAN, memory=MEMORY._replace(temporaries=13 * 2**30))
    assert not too_large.fits
    assert "DOES NOT FIT" in str(too_large)
