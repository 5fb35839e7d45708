"""The compile time of deep networks, and of networks of a quarter of their depth.

`python -m benchmarks.compile_time NAME` prints the seconds for tracing and compiling one training step.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets import Model, losses, make_model, nn
from jaxnets.models import GPTConfig, gpt
from jaxnets.training import compile_step, init_train_state, make_step, supervised

BLOCKS = {"resnet152": (3, 8, 36, 3), "resnet_quarter": (1, 2, 9, 1)}
"""Bottleneck blocks of each stage."""
LAYERS = {"transformer48": 48, "transformer12": 12}


def bottleneck_resnet(counts: tuple[int, ...]) -> Model:
    """A ResNet with these numbers of bottleneck blocks; `jaxnets.models` has only the published depths."""
    stages, before = [], 64
    for number, count in enumerate(counts):
        inner = 64 * 2**number
        first = nn.bottleneck_block_spec(before, inner, projection=True)
        before = nn.BOTTLENECK_EXPANSION * inner
        stages.append(nn.residual_stage_spec(first, nn.bottleneck_block_spec(before, inner), count))
    spec = {"stem": nn.conv_norm_spec(3, 64, (7, 7)), "stages": stages, "fc": nn.linear_spec(before, 1000)}

    def apply(params: Any, state: Any, x: Any, *, key: Any = None, train: bool) -> tuple[Any, Any]:
        x, stem = nn.conv_norm(params["stem"], state["stem"], x, stride=2, padding=3, train=train)
        after = []
        for number, (stage, stage_state) in enumerate(zip(params["stages"], state["stages"], strict=True)):
            stride = 2 if number else 1
            x, new = nn.residual_stage(nn.bottleneck_block, stage, stage_state, x, stride=stride, train=train)
            after.append(new)
        return nn.linear(params["fc"], nn.global_avg_pool(x)), {"stem": stem, "stages": after}

    return make_model(spec, apply)


def seconds_to_compile(name: str) -> float:
    """Time tracing and compiling one training step."""
    if name in BLOCKS:
        model, data = bottleneck_resnet(BLOCKS[name]), (jnp.ones((2, 64, 64, 3)), jnp.zeros(2, jnp.int32))
    else:
        model = gpt(GPTConfig(1000, 64, layers=LAYERS[name], heads=4, features=128))
        data = (jnp.zeros((2, 64), jnp.int32), jnp.zeros((2, 64), jnp.int32))
    optimizer, loss = optax.adam(1e-3), supervised(model, losses.cross_entropy)
    state = jax.eval_shape(lambda: init_train_state(model, optimizer, 0))
    started = time.perf_counter()
    compile_step(make_step(loss, optimizer)).lower(state, data).compile()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(seconds_to_compile(sys.argv[1])))
