"""The TPU compiler of the installed libtpu accepts the training step of the notebook; it needs no TPU."""

import nbformat
import pytest

from tests.test_notebook import NOTEBOOK
from tests.tpu_compiler import needs_tpu_compiler, on_the_tpu_compiler

pytestmark = [pytest.mark.slow, needs_tpu_compiler]

# What follows the cells of the notebook that define the network, in the same names.
COMPILE = """
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

if jax.__version_info__ < (0, 8):  # libtpu 0.0.21.1 has no answer to what jax 0.7.2 asks after compiling, and crashes
    from jax._src.interpreters import pxla

    pxla.is_default_layout = lambda *_: True
topology = topologies.get_topology_desc(sys.argv[1], platform="tpu", chips_per_host_bounds=(2, 2, 1))
mesh = Mesh(np.array(topology.devices), ("data",), axis_types=(AxisType.Auto,))
everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, 100))
loss = training.supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
step = training.data_parallel(training.make_step(loss, optimizer), mesh)
state = jax.eval_shape(lambda: training.init_train_state(model, optimizer, seed=0))
batch = jax.ShapeDtypeStruct((64, 28, 28, 1), np.float32), jax.ShapeDtypeStruct((64,), np.int32)
compiled = jax.jit(step, in_shardings=(everywhere, split), donate_argnums=0).lower(state, batch).compile()
cost = compiled.cost_analysis()
print(json.dumps({"devices": mesh.size, "flops": cost["flops"]}))
"""


def test_the_step_of_the_notebook_compiles_for_the_chips_of_colab():
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    (imports,) = [source for source in cells if source.startswith("import os\n")]
    (network,) = [source for source in cells if source.startswith("spec = {")]
    program = "\n".join(
        ["import json, sys", imports.replace("print(jax.devices())", ""), network.partition("\nsummary(")[0], COMPILE]
    )
    found = on_the_tpu_compiler("-c", program, "v5e:2x2")
    assert found["devices"] == 4
    assert found["flops"] > 1e8
