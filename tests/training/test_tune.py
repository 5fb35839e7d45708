"""The CPU settings: what they do, and that they can be turned off."""

import json
import os
import platform
import subprocess
import sys

import pytest

from tests.forms import needs_cpu

PAGE_FAULTS = """
import json, resource
import numpy as np
from jaxnets import training

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def count():
    for _ in range(20):
        np.ones(2**22)  # 32 MiB, taken and freed
    before = faults()
    for _ in range(10):
        np.ones(2**22)
    return faults() - before

after_the_import = count()
training.compile_step(lambda train_state, batch: (train_state, {}))
print(json.dumps([training.keep_freed_memory(), training.compiler_options(), after_the_import, count()]))
"""


RESIDENT = """
import json
import jax, jax.numpy as jnp, numpy as np
from jaxnets.training import keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20  # MiB

EVENT = "/jax/core/compile/backend_compile_duration"
keep_freed_memory()
jax.jit(lambda x: x - 1)(jnp.ones(3))  # the first lowering imports much, and takes as long as a large program
np.ones(2**25)  # 256 MiB, taken and freed
kept, events = resident(), []
jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **_: events.append(event))
jax.jit(lambda x: x + 1)(jnp.ones(3))
after_a_small_program = resident()
jax.monitoring.record_event_duration_secs(EVENT, 2.0)
print(json.dumps([kept, after_a_small_program, resident(), EVENT in events]))
"""


def measure(program=PAGE_FAULTS, **environment):
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "NUMPY_MADVISE_HUGEPAGE": "0", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


@needs_cpu
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator setting is glibc's")
def test_freed_memory_is_kept_and_so_causes_no_page_faults():
    done, _, untouched, tuned_faults = measure()
    off, options, _, plain_faults = measure(JAXNETS_TUNE="0")
    assert done
    assert not off
    assert options is None
    assert tuned_faults < 100 < 1000 < min(plain_faults, untouched)


@needs_cpu
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator setting is glibc's")
def test_freed_memory_goes_back_when_a_large_program_is_compiled():
    kept, after_a_small_program, after_a_large_one, jax_sends_the_event = measure(RESIDENT)
    assert jax_sends_the_event
    assert after_a_small_program > kept - 32
    assert after_a_large_one < kept - 128


@needs_cpu
def test_compiler_options_are_known_to_this_jaxlib():
    options = measure()[1]
    assert options is None or options.keys() == {"xla_cpu_experimental_ynn_fusion_type"}
