"""`fit` needs the memory of its train state once, and a long run no more than a short one."""

import functools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxnets.training import TrainState, fit, make_step, scan_data
from jaxnets.training.programs import Program, run_steps
from tests.forms import needs_callbacks
from tests.oracles import permissive_optimizer

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


@needs_callbacks
def test_the_train_state_is_not_copied_for_a_dispatch():
    live = []

    def loss(params, state, batch, *, key, train):
        jax.debug.callback(lambda _: live.append(sum(array.nbytes for array in jax.live_arrays())), batch[0])
        return jnp.mean((params["w"] - batch[0]) ** 2), (state, {})

    optimizer = permissive_optimizer(optax.adam(1e-3))
    params = {"w": jnp.zeros(100_000)}
    initial = TrainState.create(params, optimizer.init(params), seed=0)
    del params
    size = sum(array.nbytes for array in jax.tree.leaves(initial))
    others = sum(array.nbytes for array in jax.live_arrays()) - size
    fit(initial, make_step(loss, optimizer), jnp.ones((16, 1)), epochs=2, batch_size=4)
    assert max(live) - others < 1.1 * size


def test_a_step_of_fit_writes_its_update_in_place():
    """Beside the train state there are the gradient, an array of the loss and a byte for each parameter."""

    def loss(params, state, batch, *, key, train):
        return jnp.mean((params["w"] * jnp.mean(batch) - 1) ** 2), (state, {})

    optimizer, size = permissive_optimizer(optax.adam(1e-3)), 1_000_000
    initial = TrainState.create({"w": jnp.zeros(size)}, optimizer.init({"w": jnp.zeros(size)}), seed=0)
    program = Program(
        run_steps(make_step(loss, optimizer), functools.partial(scan_data, steps=2, batch_size=2)), donate=True
    )
    memory = program.compiled(initial, jnp.ones(4), jnp.int32(2), None).memory_analysis()
    assert memory.temp_size_in_bytes < 10 * size
