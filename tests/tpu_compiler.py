"""Programs for the real TPU compiler, which needs libtpu, but no TPU."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

needs_tpu_compiler = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


def on_the_tpu_compiler(*program, **variables):
    """Run a program in a process that compiles for TPUs, with environment variables; it prints its answer."""
    environment = {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "JAXNETS_PLATFORM": "tpu",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # tests run side by side
    }
    result = subprocess.run(
        [sys.executable, *program],
        env={**os.environ, **environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])
