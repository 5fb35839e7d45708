"""A GAN and a diffusion model that are killed in the middle of an epoch end with the bits of undisturbed runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.killed_generative_run import BATCH, EXAMPLES, PER_CALL

STEPS_PER_EPOCH = EXAMPLES // BATCH


def launch(kind, folder, cache, pause=0.0):
    command = [sys.executable, "-m", "tests.training.killed_generative_run", kind, str(folder), str(pause)]
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    )


def kill_after(process, line):
    """Kill the process when it has printed a line; it has done nothing after that."""
    for seen in process.stdout:
        if seen.strip() == line:
            process.kill()
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finish(process):
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return output.splitlines()


def bits_of(folder):
    with np.load(folder / "end.npz") as file:
        return {name: (file[name].dtype.str, file[name].tobytes()) for name in file.files}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gan", "diffusion"])
def test_killed_in_the_middle_of_an_epoch(kind, tmp_path):
    cache = tmp_path / "compiled"
    finish(launch(kind, tmp_path / "whole", cache))
    for killed_at in (2 * PER_CALL, STEPS_PER_EPOCH + 3 * PER_CALL):
        assert killed_at % STEPS_PER_EPOCH != 0
        kill_after(launch(kind, tmp_path / "killed", cache, pause=0.5), f"steps {killed_at}")
    first = finish(launch(kind, tmp_path / "killed", cache))[0]
    resumed = int(first.removeprefix("start "))
    assert resumed > STEPS_PER_EPOCH
    assert resumed % STEPS_PER_EPOCH != 0
    assert bits_of(tmp_path / "killed") == bits_of(tmp_path / "whole")
