"""The TPU compiler's predictions for a training step; it runs without a TPU and executes nothing.

`python -m benchmarks tpu-plan` needs libtpu, which must not be in the environment of other programs, as they would look
for a TPU: install the version that this jax requires into a separate folder (`pip install --no-deps --target FOLDER
libtpu`) and set PYTHONPATH=FOLDER.

The time is the sum of the compiler's estimates of cycles for each operation, times the iterations of loops. There are
no estimates for custom kernels, such as splash attention, so GPT-2 is also planned without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest import mock

from jaxnets.plan.chips import CHIPS
from jaxnets.plan.program_text import count_operations, cycles

PEAK, CLOCK = CHIPS["v5e"].peak, CHIPS["v5e"].clock
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "JAXNETS_PLATFORM": "tpu", "JAXNETS_TUNE": "0"}


class Network(NamedTuple):
    """A network to train, the kind of its examples, and their number per step."""

    name: str
    what: str
    batch: int
    devices: int = 1


NETWORKS = {
    "resnet50": Network("ResNet-50", "images of 224 x 224", 128),
    "gpt2": Network("GPT-2 124M, splash attention", "sequences of 1,024 tokens", 8),
    "gpt2_products": Network("GPT-2 124M, attention as on several devices", "sequences of 1,024 tokens", 8, devices=2),
    "vit_b_16": Network("ViT-B/16", "images of 224 x 224", 64),
}


def training_step(name: str) -> tuple[Callable[..., Any], tuple[Any, ...], Callable[..., Any]]:
    """The step of a network in bfloat16, the shapes of its arguments, and the loss, to count FLOPs."""
    import jax
    import jax.numpy as jnp
    import optax

    from jaxnets import losses, models
    from jaxnets.training import compute_in, init_train_state, make_step, supervised

    batch = NETWORKS[name].batch
    if name.startswith("gpt2"):
        model = models.gpt()
        data = tuple(jax.ShapeDtypeStruct((batch, 1024), jnp.int32) for _ in range(2))
    else:
        model = models.resnet() if name == "resnet50" else models.vit()
        data = (jax.ShapeDtypeStruct((batch, 224, 224, 3), jnp.bfloat16), jax.ShapeDtypeStruct((batch,), jnp.int32))
    model = compute_in(jnp.bfloat16, model)
    loss = supervised(model, losses.cross_entropy)
    optimizer = optax.sgd(0.1, momentum=0.9) if name == "resnet50" else optax.adamw(1e-3)
    state = jax.eval_shape(lambda: init_train_state(model, optimizer, 0))

    def value(params: Any, model_state: Any, data: Any) -> Any:
        return loss(params, model_state, data, key=None, train=False)[0]

    return make_step(loss, optimizer), (state, data), value


def plan(name: str) -> dict[str, Any]:
    """Compile the step for one TPU v5e and collect the compiler's predictions."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import SingleDeviceSharding

    from jaxnets import count_flops

    topology = topologies.get_topology_desc("v5e:1x1", platform="tpu", chips_per_host_bounds=(1, 1, 1))
    device = SingleDeviceSharding(topology.devices[0])
    step, (state, data), value = training_step(name)
    with mock.patch.object(jax, "device_count", return_value=NETWORKS[name].devices):
        jitted = jax.jit(lambda *arguments: step(*arguments), in_shardings=device, donate_argnums=0)
        program = jitted.lower(state, data).compile()
    memory, text = program.memory_analysis(), program.as_text()
    total = cycles(text)
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes
    return {
        "flops": 3 * count_flops(value, state.params, state.state, data),  # the backward pass counts twice
        "seconds": total / CLOCK,
        "copying": cycles(text, "copy") / total,
        "gibibytes": (used - memory.alias_size_in_bytes) / 2**30,
        **count_operations(text),
    }


def table() -> str:
    """Plan every network in its own process; a Markdown table."""
    lines = [
        "| network | examples per step | predicted ms per step | examples/s | TFLOP per step | predicted MFU "
        "| GiB of 16 | copies, share of time | products (float32) | transposes | gathers |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, network in NETWORKS.items():
        print(f"  compiling {network.name}", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.tpu_plan", name]
        done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the TPU compiler refused {network.name}:\n{done.stderr[-3000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        seconds = found["seconds"]
        cells = [network.name, f"{network.batch} {network.what}"]
        if found["kernels"]:
            cells += [f"{1000 * seconds:.1f} and the kernels", "", f"{found['flops'] / 1e12:.2f}", ""]
        else:
            cells += [f"{1000 * seconds:.1f}", f"{network.batch / seconds:,.0f}", f"{found['flops'] / 1e12:.2f}"]
            cells += [f"{found['flops'] / seconds / PEAK:.1%}"]
        cells += [f"{found['gibibytes']:.1f}", f"{found['copying']:.1%}"]
        cells += [f"{found['products']} ({found['float32_products']})", str(found["transposes"]), str(found["gathers"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(plan(sys.argv[1])))
