"""A long run needs no more memory than a short one."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import jax.numpy as jnp, optax
from pathlib import Path
from jaxnets import metrics
from jaxnets.training import TrainState, fit, make_evaluate, make_step

def loss(params, state, batch, *, key, train):
    errors = (batch - params) ** 2
    return jnp.mean(errors), (state, {"loss": metrics.mean(errors)})

sizes = []
def note(event):
    if event.kind == "epoch" and event.step % 5000 == 0:
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)

optimizer, params = optax.adam(1e-3), jnp.zeros(1000)
start = TrainState.create(params, optimizer.init(params), seed=0)
data = jnp.ones((50, 1000))
fit(start, make_step(loss, optimizer), data, epochs=4000, batch_size=10, evaluate=make_evaluate(loss),
    validation=data, callbacks=[note])
print(sizes[-1] - sizes[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_memory_of_a_long_run_is_flat():
    root = Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    # 3,000 epochs, 15,000 steps and 6,000 records of history later; one leaked batch a step would be 600 MB.
    assert int(output) < 8 * 2**20
