"""ResNet-50 on 224 x 224 images in bfloat16, batch 256, SGD 0.1 with momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu import SMALL

PEERS = ("jaxnets", "pytorch_compile")
STEPS = 2 if SMALL else 40
BATCH, SIZE, DEPTH = (16, 64, 18) if SMALL else (256, 224, 50)
CLASSES = 1000
RATE, MOMENTUM = 0.1, 0.9
TOLERANCES = {"the loss": 0.02, "its change by a step": 0.5}
"""They are computed in bfloat16 and in another order. A wrong sign or rate would show in the change."""


def weights() -> Any:
    """Parameters and state of jaxnets; PyTorch's are made of them."""
    import jax

    from jaxnets import models

    return jax.device_get(models.resnet(models.ResNetConfig(DEPTH, CLASSES)).init(jax.random.key(0)))


def data() -> tuple[np.ndarray, np.ndarray]:
    """One batch of images `[batch, size, size, 3]` and labels; speed does not depend on their content."""
    generator = np.random.default_rng(1)
    images = generator.normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
    return images, generator.integers(0, CLASSES, BATCH).astype(np.int32)


def flops() -> float:
    """Per step: the forward pass, and twice as many backward."""
    import jax
    import jax.numpy as jnp

    from jaxnets import count_flops, models

    model = models.resnet(models.ResNetConfig(DEPTH, CLASSES))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((BATCH, SIZE, SIZE, 3), jnp.float32)
    return 3.0 * count_flops(lambda p, s, x: model.apply(p, s, x, train=False)[0], params, state, x)
