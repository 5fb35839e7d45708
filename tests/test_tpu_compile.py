"""The real TPU compiler accepts what we ship; it needs libtpu, but no TPU."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"),
]

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, optax
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxnets import losses, metrics
from jaxnets.models import mnist_cnn, small_cnn
from jaxnets.train import init_train_state, make_step, scan_data, supervised
import numpy as np

name, chips = sys.argv[1:]
topology = topologies.get_topology_desc(name, platform="tpu", chips_per_host_bounds=tuple(map(int, chips.split(","))))
mesh = Mesh(np.array(topology.devices), ("data",), axis_types=(AxisType.Auto,))
everywhere, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
model, optimizer = small_cnn(8, 8, 1, 10), optax.adam(1e-3)
loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
step = make_step(loss, optimizer)
state = jax.eval_shape(lambda: init_train_state(model, optimizer, 0))
size = 4 * mesh.size
images, labels = jax.ShapeDtypeStruct((size, 8, 8, 1), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.int32)
single = jax.jit(step, in_shardings=(everywhere, split), out_shardings=everywhere, donate_argnums=0)
scanned = jax.jit(scan_data(step, steps=20, batch_size=size), in_shardings=everywhere, out_shardings=everywhere)
flops = [f.lower(state, (images, labels)).compile().cost_analysis()["flops"] for f in (single, scanned)]
print(json.dumps({"devices": mesh.size, "flops": flops}))
"""


@pytest.mark.parametrize(("topology", "chips", "devices"), [("v5e:1x1", "1,1,1", 1), ("v5e:4x4", "2,2,1", 16)])
def test_training_compiles_for_tpus(topology, chips, devices):
    environment = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "JAXNETS_PLATFORM": "tpu"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, topology, chips],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer["devices"] == devices
    assert all(flops > 0 for flops in answer["flops"])
