"""The handwritten digits included in scikit-learn."""

from __future__ import annotations

import numpy as np

from jaxnets.data.data_set import DataSet, make_data_set
from jaxnets.extras import needed_for


def digits(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels of 17 gray levels.

    No download is needed. The splits are random, with equal shares of each class.

    Args:
        seed: of the random split.
        validation: share of all images for validation.
        test: share of all images for the test.

    Returns:
        Images float32 `[examples, 8, 8, 1]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        ValueError: if a split would be empty.

    Example:
        >>> data = digits()
        >>> [part[0].shape for part in data[:3]]
        [(1258, 8, 8, 1), (180, 8, 8, 1), (359, 8, 8, 1)]

    Reference:
        Alpaydin and Kaynak, Optical recognition of handwritten digits (UCI), 1998; its test split.
    """
    with needed_for("data.digits"):
        from sklearn.datasets import load_digits

    raw = load_digits()
    images = (raw.images / 16).astype(np.float32)[..., None]
    names = tuple(str(name) for name in raw.target_names)
    return make_data_set(images, raw.target.astype(np.int32), seed, validation=validation, test=test, classes=names)
