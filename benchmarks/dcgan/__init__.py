"""A DCGAN of digits with spectral norm: both updates, batch 50 of 28 x 28 x 1, noise 64, width 32, Adam 0.001, hinge.

Sizes of `experiments/mnist_gan.py`. The noise is given, so that all programs see the same; parameters are not averaged.
The loss is the sum of the discriminator's and the generator's. torch.compile is missing: it fails for a network with
spectral norm that runs twice before the gradient.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peer import random_weights, scales_near_one, split_batches

PEERS = ("jaxnets", "flax_linen", "pytorch", "pytorch_channels_last")
STEPS = 20
BATCHES = 20
BATCH, NOISE, WIDTH = 50, 64, 32
RATE, BETA = 1e-3, 0.5


def weights() -> dict[str, np.ndarray]:
    """The arrays of the library's models, by path; kernels of transposed convolutions are `[4, 4, out, in]`.

    The discriminator has `u` of the power iteration, too.
    """
    wide = 2 * WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "g/fc/kernel": (NOISE, 7 * 7 * wide),
        "g/norm/scale": (wide,),
        "g/norm/bias": (wide,),
        "g/blocks/0/conv/kernel": (4, 4, WIDTH, wide),
        "g/blocks/0/norm/scale": (WIDTH,),
        "g/blocks/0/norm/bias": (WIDTH,),
        "g/out/kernel": (4, 4, 1, WIDTH),
        "g/out/bias": (1,),
    }
    kernels = {"blocks/0/conv": (4, 4, 1, WIDTH), "blocks/1/conv": (4, 4, WIDTH, wide), "out": (7, 7, wide, 1)}
    for path, shape in kernels.items():
        shapes |= {f"d/{path}/kernel": shape, f"d/{path}/bias": shape[-1:], f"d/{path}/u": shape[-1:]}
    arrays = scales_near_one(random_weights(shapes))
    return {path: array / np.linalg.norm(array) if path.endswith("/u") else array for path, array in arrays.items()}


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images `[examples, 28, 28, 1]` in [-1, 1], and noise `[examples, 64]` for either update."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    noise = (generator.normal(size=(count, NOISE)).astype(np.float32) for _ in range(2))
    return generator.uniform(-1, 1, (count, 28, 28, 1)).astype(np.float32), *noise


def batches(images: np.ndarray, *noise: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The examples in order, batch by batch."""
    return split_batches(BATCH, images, *noise)
