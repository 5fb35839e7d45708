"""Settings for every test: strict promotion, eight virtual CPU devices, and Ctrl-C as a terminal gives it."""

import contextlib
import gc
import os
import signal

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

from tests.browser import open_browser
from tests.without_torch import (
    pytest_make_collect_report as pytest_make_collect_report,
    pytest_runtest_call as pytest_runtest_call,
    pytest_terminal_summary as pytest_terminal_summary,
)

jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
if jax.config.jax_platforms == "cpu":
    jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
PROGRAMS_BETWEEN_CLEARS = 1000
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

compiled = []


def count_program(event, duration, **_):
    if event.endswith("backend_compile_duration"):
        compiled.append(event)


def pytest_configure():
    jax.monitoring.register_event_duration_secs_listener(count_program)


def pytest_collection_finish():
    """Let the garbage collector leave alone what was imported: tracing makes it run often."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Forget compiled programs now and then: each keeps about a megabyte, and there are more than ten thousand."""
    if len(compiled) >= PROGRAMS_BETWEEN_CLEARS:
        compiled.clear()
        jax.clear_caches()


@pytest.fixture
def enter():
    """Enter a context manager, such as `jaxnets.backend.plain_forms()`, until the end of the test."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def browser(tmp_path):
    """A browser for one test; see `tests.browser`."""
    with open_browser(tmp_path / "browser") as driver:
        yield driver
