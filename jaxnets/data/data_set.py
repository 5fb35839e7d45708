"""Data sets, how they are divided into splits, and standardization by the training split alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.extras import needed_for

Split = tuple[np.ndarray, np.ndarray]
"""Inputs `[examples, ...]` and labels `[examples]`, host arrays."""


class DataSet(NamedTuple):
    """A data set of three splits, each a pair (inputs, labels).

    Attributes:
        train: the split to train on.
        validation: the split to evaluate on during training.
        test: the split for the final evaluation, once.
        classes: the names of the classes; empty for regression.
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]


class Standardization(NamedTuple):
    """The map x -> (x - mean) / scale; see `fit_standardization`.

    Attributes:
        mean: `[features]`.
        scale: `[features]`, the standard deviation; 1 where it is zero.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Standardize `x` `[..., features]`, keeping its dtype."""
        _check_floating("Standardization", x)
        self._check_features(x)
        standardized: np.ndarray = ((x - self.mean) / self.scale).astype(x.dtype)
        return standardized

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Undo the standardization of `x` `[..., features]`."""
        _check_floating("Standardization.inverse", x)
        self._check_features(x)
        restored: np.ndarray = (x * self.scale + self.mean).astype(x.dtype)
        return restored

    def _check_features(self, x: np.ndarray) -> None:
        if x.shape[-1:] != np.shape(self.mean):
            raise ValueError(f"Standardization: last axis must be {len(self.mean)}, as fitted, got {list(x.shape)}")


def make_data_set(
    inputs: np.ndarray,
    labels: np.ndarray,
    seed: int = 0,
    *,
    validation: float = 0.1,
    test: float = 0.2,
    classes: Sequence[str] = (),
) -> DataSet:
    """Divide examples at random into three splits, with equal shares of each class.

    Args:
        inputs: `[examples, ...]`.
        labels: `[examples, ...]`; with `classes`, integers `[examples]`.
        seed: of the random split.
        validation: share of all examples for validation.
        test: share of all examples for the test.
        classes: the names of the classes; without them, as for regression, shares of classes are not considered.

    Raises:
        ValueError: if the sizes disagree, or a split would be empty.
        ImportError: if scikit-learn is not installed: `pip install 'jaxnets[experiments]'`.

    Example:
        >>> data = make_data_set(np.arange(20.0)[:, None], np.arange(20) % 2, classes=["even", "odd"])
        >>> [len(part[0]) for part in data[:3]], int(data.test[1].sum())
        ([14, 2, 4], 2)
    """
    with needed_for("data.make_data_set"):
        from sklearn.model_selection import train_test_split

    if len(inputs) != len(labels):
        raise ValueError(f"make_data_set: as many labels as inputs are needed, got {len(labels)} and {len(inputs)}")
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(f"make_data_set: shares must be positive with a sum below 1, got {validation=}, {test=}")
    counts = round(len(inputs) * validation), round(len(inputs) * test)
    if min(counts) < max(1, len(classes)) or len(inputs) - sum(counts) < max(1, len(classes)):
        raise ValueError(
            f"make_data_set: {len(inputs)} examples of {len(classes)} classes are too few for splits of "
            f"{len(inputs) - sum(counts)}, {counts[0]} and {counts[1]}; take larger shares or more examples"
        )

    def split(whole: Split, count: int) -> tuple[Split, Split]:
        inputs, labels = whole
        a, b, labels_a, labels_b = train_test_split(
            inputs, labels, test_size=count, random_state=seed, stratify=labels if classes else None
        )
        return (a, labels_a), (b, labels_b)

    rest, test_split = split((inputs, labels), counts[1])
    train_split, validation_split = split(rest, counts[0])
    return DataSet(train_split, validation_split, test_split, tuple(classes))


def hold_out(part: Split, share: float, seed: int = 0) -> tuple[Split, Split]:
    """Hold out a random share of a split, for example for validation.

    Args:
        part: inputs and labels.
        share: in [0, 1); 0 holds out nothing.
        seed: of the random choice.

    Returns:
        The kept and the held-out examples, both in the order of `part`.

    Raises:
        ValueError: if the share is out of range, or no example would be kept.

    Example:
        >>> (kept, _), (taken, _) = hold_out((np.arange(5), np.arange(5)), 0.4)
        >>> kept.tolist(), taken.tolist()
        ([0, 1, 3], [2, 4])
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share to hold out must be in [0, 1), got {share}")
    inputs, labels = part
    if len(inputs) and round(len(inputs) * share) == len(inputs):
        raise ValueError(f"a share of {share} of {len(inputs)} examples leaves none; take a smaller one")
    taken = np.zeros(len(inputs), bool)
    taken[np.random.default_rng(seed).permutation(len(inputs))[: round(len(inputs) * share)]] = True
    return (inputs[~taken], labels[~taken]), (inputs[taken], labels[taken])


def fit_standardization(inputs: np.ndarray) -> Standardization:
    """Compute mean and standard deviation of every feature, the last axis, over all other axes.

    A table `[examples, features]` has one mean per column, images `[examples, height, width, channels]` one per
    channel. Constant features are only centered.

    Args:
        inputs: `[examples, ..., features]`, floating point, finite.

    Raises:
        ValueError: if there are no examples, or a number is not finite.
        TypeError: if the inputs are not floating point.

    Example:
        >>> fitted = fit_standardization(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> fitted(np.array([[4.0, 6.0]]))
        array([[2., 1.]])

    Warning:
        This is the standard deviation divided by n, as in scikit-learn;
        `torch.Tensor.std` and pandas divide by n - 1.
    """
    _check_floating("fit_standardization", inputs)
    if inputs.ndim < 2 or len(inputs) == 0:
        raise ValueError(f"fit_standardization: expected [examples, ..., features], got {list(inputs.shape)}")
    if not np.isfinite(inputs).all():
        raise ValueError("fit_standardization: the inputs contain NaN or infinity; replace or remove those examples")
    axes = tuple(range(inputs.ndim - 1))
    mean = inputs.mean(axes, dtype=np.float64)
    deviation = np.sqrt(np.mean((inputs - mean) ** 2, axis=axes))
    # The mean of equal numbers may be off by rounding, and dividing by that deviation would magnify it.
    constant = inputs.min(axes) == inputs.max(axes)
    mean = np.where(constant, inputs.min(axes), mean)
    return Standardization(mean, np.where(constant | (deviation == 0), 1.0, deviation))


def standardize(data: DataSet) -> DataSet:
    """Standardize the inputs of all splits by mean and standard deviation of the training split alone.

    Statistics of validation and test must not leak into training, so the means of these splits are not exactly 0.

    Args:
        data: inputs `[examples, ..., features]`, floating point; statistics are those of `fit_standardization`.

    Raises:
        ValueError: if the training inputs are not finite.
        TypeError: if the inputs are not floating point.

    Example:
        >>> part = lambda *x: (np.array(x)[:, None], np.zeros(len(x), int))
        >>> data = standardize(DataSet(part(1.0, 3.0), part(4.0), part(5.0), ("a",)))
        >>> data.train[0].ravel(), data.validation[0].ravel(), data.test[0].ravel()
        (array([-1.,  1.]), array([2.]), array([3.]))
    """
    fitted = fit_standardization(data.train[0])
    train, validation, test = ((fitted(inputs), labels) for inputs, labels in data[:3])
    return DataSet(train, validation, test, data.classes)


def _check_floating(name: str, x: Any) -> None:
    if not isinstance(x, np.ndarray) or not np.issubdtype(x.dtype, np.floating):
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{name}: expected a numpy array of floating-point numbers, got {kind}; write np.float32(x)")
