"""Training of the GPU cases: many steps per dispatch in jaxnets, mixed precision in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STEPS_PER_DISPATCH = 10


def train_jaxnets(step: Any, start: Any, data: Any, batch_size: int, steps: int) -> Callable[[int], float]:
    """A function that runs the given number of steps on data on the device."""
    from benchmarks.last_loss import last_loss
    from jaxnets.training import compile_step, scan_data

    together = min(steps, STEPS_PER_DISPATCH)
    run_steps = compile_step(scan_data(step, steps=together, batch_size=batch_size, shuffle=False))
    state = start

    def run(steps: int) -> float:
        nonlocal state
        for _ in range(steps // together):
            state, measured = run_steps(state, data)
        return last_loss(measured, state)

    return run


def train_pytorch(loss: Callable[[], Any], optimizer: Any, device: Any) -> Callable[[int], float]:
    """The same for PyTorch, with the forward pass in bfloat16 by autocast."""
    import torch

    def run(steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16):
                value = loss()
            value.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return value.item()

    return run


def pytorch_device() -> Any:
    """The GPU, or the CPU without one, with the fast float32 products that PyTorch recommends."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_state(network: Any, params: Any, state: Any, model: Any) -> None:
    """Load the weights of our network into PyTorch's."""
    import torch

    from jaxnets import weights

    arrays = weights.to_torch(params, state, model)
    network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
