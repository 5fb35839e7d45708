"""Two of the irises by two of their lengths: what one neuron can learn, and a picture can show."""

from __future__ import annotations

import numpy as np

from jaxnets.data import Split, iris

SEPAL_LENGTH, PETAL_LENGTH = 0, 2
"""Columns of the data set."""


def two_irises(seed: int) -> tuple[Split, Split]:
    """Setosa (0) and versicolor (1) by two lengths in cm: 80 flowers to learn from and 20 for the test."""
    data = iris(seed)

    def select(*splits: Split) -> Split:
        x, labels = (np.concatenate(arrays) for arrays in zip(*splits, strict=True))
        return x[labels < 2][:, [SEPAL_LENGTH, PETAL_LENGTH]], labels[labels < 2]

    return select(data.train, data.validation), select(data.test)
