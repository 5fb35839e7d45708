"""A run that is killed at any moment, or whose disk fails, goes on and ends with the bits of an undisturbed one.

`JAXNETS_CRASH_POINTS` sets how many runs are killed; 200 by default.
"""

import os
import shutil
import signal
import subprocess
import time
from typing import NamedTuple

import numpy as np
import pytest

from tests.crash.runs import Runs, bits_of

pytestmark = pytest.mark.slow
PARTS = 4
POINTS = int(os.environ.get("JAXNETS_CRASH_POINTS", "200")) // PARTS
WHILE_SAVING, WRITER_SECONDS = min(20, POINTS * PARTS), 0.05


class Undisturbed(NamedTuple):
    bits: dict
    seconds: float


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    started = Runs(tmp_path_factory.mktemp("compiled"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def undisturbed(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert runs.run(folder / "first") == 0, runs.errors
    started = time.perf_counter()  # of a run that finds its programs compiled
    assert runs.run(folder / "second") == 0, runs.errors
    bits = bits_of(folder / "first")
    assert bits == bits_of(folder / "second")
    return Undisturbed(bits, time.perf_counter() - started)


def kill_and_resume(runs, folder, undisturbed, seconds, writer_seconds=0.0):
    """Returns whether the run was killed before it ended."""
    status = runs.run(folder, kill_after=seconds, writer_seconds=writer_seconds)
    assert status in (0, -signal.SIGKILL), runs.errors
    assert runs.run(folder) == 0, runs.errors
    assert bits_of(folder) == undisturbed.bits, f"killed after {seconds} s"
    shutil.rmtree(folder)
    return status == -signal.SIGKILL


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_moments(part, runs, undisturbed, tmp_path):
    moments = np.random.default_rng(part).uniform(0, undisturbed.seconds, POINTS)
    killed = [kill_and_resume(runs, tmp_path / "run", undisturbed, moment) for moment in moments]
    assert sum(killed) > POINTS / 4  # two moments may be enough for CI, and the run may be faster than it was


def test_killed_while_it_saves(runs, undisturbed, tmp_path):
    """What completes a checkpoint takes so long that most moments are within a save."""
    began = time.perf_counter()
    assert runs.run(tmp_path / "slow", writer_seconds=WRITER_SECONDS) == 0, runs.errors
    seconds = time.perf_counter() - began
    moments = np.random.default_rng(PARTS).uniform(seconds / 4, seconds, WHILE_SAVING)
    killed = [kill_and_resume(runs, tmp_path / "run", undisturbed, moment, WRITER_SECONDS) for moment in moments]
    assert sum(killed) > WHILE_SAVING / 2


def test_killed_again_and_again(runs, undisturbed, tmp_path):
    moments = np.random.default_rng(PARTS + 1).uniform(undisturbed.seconds / 2, undisturbed.seconds, 10)
    for moment in moments:
        runs.run(tmp_path / "run", kill_after=moment)
    assert runs.run(tmp_path / "run") == 0, runs.errors
    assert bits_of(tmp_path / "run") == undisturbed.bits


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, which may be filled or made read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("room", [0, 20_000, 100_000])
def test_a_full_disk_is_an_error_and_loses_nothing(room, runs, undisturbed, small_disk):
    folder = small_disk / "run"
    runs.run(folder, kill_after=0.8 * undisturbed.seconds)
    usage = shutil.disk_usage(small_disk)
    (small_disk / "filler").write_bytes(b"0" * max(usage.free - room, 0))
    status = runs.run(folder)
    if status != 0:
        assert "No space left on device" in runs.errors
    (small_disk / "filler").unlink()
    assert runs.run(folder) == 0, runs.errors
    assert bits_of(folder) == undisturbed.bits


def test_a_read_only_folder_is_an_error_and_loses_nothing(runs, undisturbed, small_disk, tmp_path):
    folder = small_disk / "run"
    runs.run(folder, kill_after=0.8 * undisturbed.seconds)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert runs.run(folder) == 1
    assert "Read-only file system" in runs.errors
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert runs.run(folder) == 0, runs.errors
    assert bits_of(folder) == undisturbed.bits
