"""The handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Split = tuple[np.ndarray, np.ndarray]


class DataSet(NamedTuple):
    """A data set in its three parts, each a pair (inputs, labels).

    Attributes:
        train: what the network learns from.
        validation: what is looked at during training.
        test: what the final figure is measured on, once.
        classes: the names of the classes; empty for regression.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]


def digits(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load scikit-learn's 1,797 images of handwritten digits, 8 x 8 pixels of 17 grey levels.

    No network is needed. The parts are drawn at random with equal shares of each class.

    Args:
        seed: of the split.
        validation: share of all images for validation.
        test: share of all images for the test.

    Returns:
        Images float32 `[examples, 8, 8, 1]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        ValueError: if the shares leave nothing for one of the parts.

    Example:
        >>> data = digits()
        >>> [part[0].shape for part in data[:3]]
        [(1258, 8, 8, 1), (180, 8, 8, 1), (359, 8, 8, 1)]

    Reference:
        Alpaydin and Kaynak, Optical recognition of handwritten digits (UCI), 1998; its test part.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(f"digits: shares must be positive with a sum below 1, got {validation=}, {test=}")
    raw = load_digits()
    images = (raw.images / 16).astype(np.float32)[..., None]
    labels = raw.target.astype(np.int32)

    def split(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[Split, Split]:
        a, b, labels_a, labels_b = train_test_split(images, labels, test_size=count, random_state=seed, stratify=labels)
        return (a, labels_a), (b, labels_b)

    rest, test_part = split(images, labels, round(len(images) * test))
    train_part, validation_part = split(*rest, round(len(images) * validation))
    return DataSet(train_part, validation_part, test_part, tuple(str(name) for name in raw.target_names))
