"""PyTorch: scaled_dot_product_attention with cuDNN's kernel."""

import contextlib
import functools

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.training import pytorch_device
from benchmarks.peer import Peer


def prepare(weights, *arrays):
    device = pytorch_device()
    on_gpu = device.type == "cuda"
    heads_first = [torch.tensor(array).transpose(1, 2).to(device, torch.bfloat16) for array in arrays]
    *operands, direction = (array.contiguous() for array in heads_first)
    operands = [operand.requires_grad_() for operand in operands]
    kernel = functools.partial(sdpa_kernel, SDPBackend.CUDNN_ATTENTION) if on_gpu else contextlib.nullcontext

    def run(steps):
        with kernel():
            for _ in range(steps):
                y = functional.scaled_dot_product_attention(*operands, is_causal=True)
                gradients = torch.autograd.grad(y, operands, direction)
                with torch.no_grad():
                    for operand, gradient in zip(operands, gradients, strict=True):
                        operand.add_(gradient, alpha=1e-3 / y.numel())
        if on_gpu:
            torch.cuda.synchronize()
        return 0.0

    def results():
        with kernel():
            y = functional.scaled_dot_product_attention(*operands, is_causal=True)
            gradients = torch.autograd.grad(y, operands, direction)
        sizes = [array.float().abs().mean().item() for array in (y, *gradients)]
        return [sizes[0], sum(sizes[1:])]

    return Peer(run, results=results)
