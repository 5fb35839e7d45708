"""Compile a training step for a machine that is not there, and read what the compiler predicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from jaxnets import backend, sharding
from jaxnets.flops import count_flops, jaxpr_flops
from jaxnets.integers import as_integer
from jaxnets.model import Model
from jaxnets.plan import memory as memory_module
from jaxnets.plan.chips import Machine, devices_of, machine
from jaxnets.plan.collectives import collectives
from jaxnets.plan.kernels import kernels_of
from jaxnets.plan.program_text import cycles, unknown_loops
from jaxnets.plan.report import Plan
from jaxnets.sharding import Placement, Rules
from jaxnets.spec import Spec
from jaxnets.training.placed import placed_step
from jaxnets.training.shardings import train_state_shardings
from jaxnets.training.state import Step, TrainState
from jaxnets.tree import describe
from jaxnets.types import PyTree


@dataclasses.dataclass(frozen=True)
class Training:
    """A training step and what it is called with.

    Attributes:
        step: `step(train_state, batch) -> (train_state, metrics)`, with constants as a third argument if there are any.
        train_state: arrays or their shapes.
        batch: arrays or their shapes.
        constants: what does not train, such as a reference policy.
        model: the network, or its spec; only rules need it, and it is where logical axes are.
        data_bytes: of the data set that lies on every device.
        steps: of the whole run.
    """

    step: Step
    train_state: TrainState
    batch: Any
    constants: PyTree = None
    model: Model | Spec = None
    data_bytes: int = 0
    steps: int | None = None


def plan_step(
    step: Step,
    train_state: TrainState,
    batch: Any,
    *,
    target: str,
    mesh: Mapping[str, int] | None = None,
    rules: Rules | None = None,
    model: Model | Spec = None,
    constants: PyTree = None,
    data_bytes: int = 0,
    steps: int | None = None,
    price: float | None = None,
) -> Plan:
    """Compile a training step for TPUs that are not there, and say what the compiler predicts.

    Nothing is run. It needs the TPU compiler (libtpu), and no TPU; the page "Plan before you rent" of the documentation
    says how to install it and how to read the result.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`, as `make_step` returns.
        train_state: arrays, or shapes: `jax.eval_shape(lambda: init_train_state(model, optimizer, 0))`.
        batch: arrays or shapes of one batch, on all devices together.
        target: chip and shape of the slice: `"v5e:1x1"` (Colab's), `"v5e:4x4"`, `"v5p:4x4x8"`, `"v6e:16x16"`.
        mesh: the sizes of the axes of the mesh; by default `{"data": chips}`.
        rules: how arrays are divided, such as `jaxnets.sharding.FSDP`; by default every device has all of them.
        model: the network; needed with rules.
        constants: the step's third argument.
        data_bytes: of a data set that lies whole on every device.
        steps: of the whole run.
        price: of one chip for an hour, in any currency.

    Returns:
        A `Plan`; `print(plan)` shows it. Its `fits` says whether the memory is enough.

    Raises:
        ValueError: if there is no such target, the mesh has another number of devices, the batch cannot be divided, or
            steps or price are not positive.
        TypeError: if the step cannot be divided by rules.
        ModuleNotFoundError: if the TPU compiler is not installed.
    """
    training = Training(step, train_state, batch, constants, model, data_bytes, steps)
    return plan_training(training, target, mesh=mesh, rules=rules, price=price)


def plan_training(
    training: Training,
    target: str,
    *,
    mesh: Mapping[str, int] | None = None,
    rules: Rules | None = None,
    price: float | None = None,
) -> Plan:
    """Plan a step; see `plan_step`."""
    if training.steps is not None:
        as_integer("plan", "steps", training.steps, at_least=1)
    if price is not None and not 0 < price < math.inf:
        raise ValueError(f"plan: price must be a positive number, got {price}")
    wanted, devices = machine(target), devices_of(target)
    if not isinstance(training.train_state, TrainState):
        raise TypeError(f"plan: the train state must be a TrainState, got {describe(training.train_state)}")
    sizes = ({"data": len(devices)} if len(devices) > 1 else {}) if mesh is None else dict(mesh)
    placement = _placement(training.model, sizes, rules, devices)
    with backend.trace_for("tpu"):
        program, traced, given = _compiled(training, placement, devices)
        numbers = _counted(training)
    single = Placement(sharding.make_mesh({"data": 1}, jax.devices()[:1]), ())
    memory = memory_module.memory_of(
        given[0],
        given[1:],
        training.data_bytes,
        program,
        None if numbers["stored"] is None else numbers["stored"] // (placement or single).batch_parts,
        wanted.chip,
    )
    kernels = kernels_of(traced, wanted.chip.lanes)
    text = None if isinstance(program, int) else program.as_text()
    return Plan(
        target=target,
        mesh=sizes,
        rules=rules_name(rules, len(devices)),
        memory=memory,
        flops=numbers["flops"],
        executed_flops=max(numbers["executed"], numbers["flops"]),
        cycles=None if text is None else cycles(text),
        kernels=kernels.runs,
        kernel_flops=kernels.flops,
        collectives=() if text is None else collectives(text, wanted, _coordinates(placement, devices, wanted)),
        batch=_examples(training.batch),
        tokens=_tokens(training.batch),
        unknown_loops=0 if text is None else unknown_loops(text),
        steps=training.steps,
        price=price,
    )


def rules_name(rules: Rules | None, devices: int) -> str:
    """Say in words how arrays are divided."""
    named = {"FSDP": sharding.FSDP, "TENSOR": sharding.TENSOR, "FSDP + TENSOR": sharding.FSDP_TENSOR}
    whole = "arrays whole on every device" if devices > 1 else "one device"
    return whole if not rules else next((name for name, table in named.items() if table == rules), "rules of its own")


def _placement(
    model: Model | Spec, sizes: Mapping[str, int], rules: Rules | None, devices: list[Any]
) -> Placement | None:
    if len(devices) == 1 and not sizes:
        return None
    mesh = sharding.make_mesh(sizes, devices)
    if not rules:
        return Placement(mesh, tuple(axis for axis in mesh.axis_names if axis == "data"))
    if model is None:
        raise TypeError("plan: rules need the network, whose spec has the logical axes; pass model=..., or no rules")
    return sharding.place(model, mesh, rules)


def on_placement(step: Step, placement: Placement | None) -> Step:
    """Divide a step as a placement says."""
    if getattr(step, "placement", None) is not None:
        return step
    if hasattr(step, "on_mesh"):  # what a program divided over the devices it has is divided anew
        divided: Step = step.on_mesh(placement=placement)
        return divided
    if placement is None:
        return step
    if placement.partitions:
        raise TypeError(
            "plan: only steps of make_step can be divided by rules; leave the rules out, or divide this one yourself "
            "and pass it without rules"
        )
    return placed_step(step, placement, function="plan")


def _compiled(training: Training, placement: Placement | None, devices: list[Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """The compiled program, or the bytes of its temporaries if it is too large; its jaxpr; the shapes it was given."""
    arguments = [training.train_state, training.batch, *([] if training.constants is None else [training.constants])]
    shapes = jax.tree.map(shape_of, tuple(arguments))
    if placement is None:
        one = SingleDeviceSharding(devices[0])
        given = jax.tree.map(lambda leaf: _placed(leaf, one), shapes)
    else:
        everywhere = Placement(placement.mesh, ()).sharding()
        state = jax.tree.map(_placed, shapes[0], train_state_shardings(shapes[0], placement))
        divided = _examples(shapes[1]) % placement.batch_parts == 0
        rows = placement.of_rows() if divided else everywhere
        batch = jax.tree.map(lambda leaf: _placed(leaf, rows), shapes[1])
        given = (state, batch, *jax.tree.map(lambda leaf: _placed(leaf, everywhere), shapes[2:]))
    traced = jax.jit(on_placement(training.step, placement), donate_argnums=0).trace(*given)
    return _compile(traced), traced.jaxpr, given


def _compile(traced: Any) -> Any:
    try:
        return traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if (temporaries := memory_module.refused_temporaries(error)) is None:
            raise
        return temporaries


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and the dtype of an array."""
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jax.dtypes.canonicalize_dtype(jnp.result_type(leaf)))


def _placed(leaf: Any, where: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _counted(training: Training) -> dict[str, Any]:
    """FLOPs, and what the backward pass reads, of the step on one device."""
    step, loss = training.step, getattr(training.step, "loss", None)
    shapes = jax.tree.map(shape_of, (training.train_state, training.batch, training.constants))
    state, batch, constants = shapes
    executed = jaxpr_flops(jax.make_jaxpr(step)(state, batch, *([] if constants is None else [constants])))
    if loss is None:
        return {"flops": executed, "executed": executed, "stored": None}

    def value(params: Any, model_state: Any, batch: Any, constants: Any) -> Any:
        return memory_module.value_of(loss, params, model_state, batch, constants)

    forward = count_flops(value, state.params, state.state, batch, constants)
    stored = memory_module.stored_for_backward(loss, state, batch, constants)
    return {"flops": 3 * forward or executed, "executed": executed, "stored": stored}


def _coordinates(placement: Placement | None, devices: list[Any], wanted: Machine) -> list[tuple[int, ...]]:
    ordered = devices if placement is None else list(placement.mesh.devices.flat)
    return [tuple(device.coords)[: len(wanted.shape)] for device in ordered]


def _examples(batch: Any) -> int:
    """The first axis of the first array."""
    first = next(iter(jax.tree.leaves(batch)), None)
    return int(jnp.shape(first)[0]) if first is not None and jnp.ndim(first) else 1


def _tokens(batch: Any) -> int | None:
    """The ids of the first array of a batch, if it is `[batch, time]`."""
    first = next(iter(jax.tree.leaves(batch)), 0)
    ids = jnp.ndim(first) == 2 and jnp.issubdtype(jnp.result_type(first), jnp.integer)
    return int(jnp.shape(first)[0] * jnp.shape(first)[1]) if ids and jnp.shape(first)[1] > 2 else None
