"""Images whose values say from where they were read, and functions compiled as one program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def ramps(batch, height, width):
    """Images `[batch, height, width, 2]` whose channels are the row and the column, counted from the center.

    Bilinear reading between pixels is exact on them, so that a result shows the position that was read.
    """
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = np.stack([rows - (height - 1) / 2, columns - (width - 1) / 2], axis=-1).astype(np.float32)
    return jnp.asarray(np.broadcast_to(image, (batch, *image.shape)))


def draw(function, images, key, **settings):
    """The random augmentation as one compiled program."""
    return jax.jit(partial(function, **settings))(images, key=key)
