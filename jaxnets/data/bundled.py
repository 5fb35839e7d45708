"""The tables included in scikit-learn; no download is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxnets.data.data_set import DataSet, make_data_set
from jaxnets.extras import needed_for


def breast_cancer(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load 569 breast tumors, 30 measurements each: malignant (0) or benign (1).

    The measurements differ in scale by a factor of 10,000: `standardize` the result.

    Args:
        seed: of the random split.
        validation: share of all examples for validation.
        test: share of all examples for the test.

    Returns:
        Inputs float32 `[examples, 30]` and labels int32 `[examples]`.

    Raises:
        ValueError: if a split would be empty.

    Example:
        >>> data = breast_cancer()
        >>> data.train[0].shape, data.classes
        ((398, 30), ('malignant', 'benign'))

    Reference:
        Street, Wolberg and Mangasarian, Nuclear feature extraction for breast tumor diagnosis, 1993.
    """
    with needed_for("data.breast_cancer"):
        from sklearn.datasets import load_breast_cancer

    return _classification(load_breast_cancer, seed, validation, test)


def wine(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load 178 wines of three growers, 13 chemical measurements each.

    Args:
        seed: of the random split.
        validation: share of all examples for validation.
        test: share of all examples for the test.

    Returns:
        Inputs float32 `[examples, 13]` and labels int32 `[examples]`.

    Raises:
        ValueError: if a split would be empty.

    Example:
        >>> wine().train[0].shape
        (124, 13)

    Reference:
        Aeberhard and Forina, Wine (UCI), 1991.
    """
    with needed_for("data.wine"):
        from sklearn.datasets import load_wine

    return _classification(load_wine, seed, validation, test)


def iris(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load 150 irises of three species: length and width of sepal and petal in centimeters.

    Args:
        seed: of the random split.
        validation: share of all examples for validation.
        test: share of all examples for the test.

    Returns:
        Inputs float32 `[examples, 4]` and labels int32 `[examples]`.

    Raises:
        ValueError: if a split would be empty.

    Example:
        >>> iris().classes
        ('setosa', 'versicolor', 'virginica')

    Reference:
        Fisher, The use of multiple measurements in taxonomic problems, 1936.
    """
    with needed_for("data.iris"):
        from sklearn.datasets import load_iris

    return _classification(load_iris, seed, validation, test)


def diabetes(seed: int = 0, *, validation: float = 0.1, test: float = 0.2) -> DataSet:
    """Load 442 diabetes patients, 10 measurements each, and the progression of the disease a year later: regression.

    Args:
        seed: of the random split.
        validation: share of all examples for validation.
        test: share of all examples for the test.

    Returns:
        Inputs float32 `[examples, 10]` and targets float32 `[examples]` between 25 and 346.

    Raises:
        ValueError: if a split would be empty.

    Example:
        >>> data = diabetes()
        >>> data.train[0].shape, data.train[1].dtype, data.classes
        ((310, 10), dtype('float32'), ())

    Warning:
        `sklearn.datasets.load_diabetes` standardizes by all rows, including the test split. Here the measurements are
        unchanged; `standardize` fits to the training split alone.

    Reference:
        Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004.
    """
    with needed_for("data.diabetes"):
        from sklearn.datasets import load_diabetes

    raw = load_diabetes(scaled=False)
    targets = raw.target.astype(np.float32)
    return make_data_set(raw.data.astype(np.float32), targets, seed, validation=validation, test=test)


def _classification(load: Callable[[], Any], seed: int, validation: float, test: float) -> DataSet:
    raw = load()
    inputs, labels = raw.data.astype(np.float32), raw.target.astype(np.int32)
    names = tuple(str(name) for name in raw.target_names)
    return make_data_set(inputs, labels, seed, validation=validation, test=test, classes=names)
