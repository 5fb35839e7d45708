"""Settings for every test: strict promotion, eight virtual CPU devices, and Ctrl-C as a terminal gives it."""

import os
import signal

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS", "cpu"))
if jax.config.jax_platforms == "cpu":
    jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
TESTS_BETWEEN_CLEARS = 50
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def bounded_memory(request):
    """Forget compiled programs now and then: two thousand tests would keep several gigabytes of them."""
    yield
    session = request.session
    session.tests_since_clear = getattr(session, "tests_since_clear", 0) + 1
    if session.tests_since_clear == TESTS_BETWEEN_CLEARS:
        session.tests_since_clear = 0
        jax.clear_caches()
