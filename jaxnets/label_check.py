"""Labels that mean nothing, found in the data before training, since compiled programs can raise no exception.

While `fit` traces its programs, batches note of which array of the data their rows are, and losses which labels they
take. Labels that reach a loss as they are in the data can then be compared with what the loss takes.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Allowed(NamedTuple):
    """The labels that a loss takes.

    Attributes:
        function: the name of the loss.
        least: the least label.
        largest: the largest one.
        kind: what they are: `"class"` for integers that count classes, `"share"` for numbers from 0 to 1, `"sign"` for
            -1 and 1.
    """

    function: str
    least: int
    largest: int
    kind: str

    def holds(self, labels: np.ndarray[Any, Any]) -> bool:
        """Whether all of these labels are among them."""
        if self.kind == "sign":
            return bool(np.all(np.abs(labels) == 1))
        return bool(np.all((labels >= self.least) & (labels <= self.largest)))

    def counts_from_one(self, labels: np.ndarray[Any, Any]) -> bool:
        """Whether these are the classes, counted from 1."""
        return self.kind == "class" and bool(labels.min() >= 1 and labels.max() == self.largest + 1)

    def advice(self, labels: np.ndarray[Any, Any]) -> str:
        """What to write, if something is likely."""
        least, largest = labels.min(), labels.max()
        if self.counts_from_one(labels):
            return "write labels - 1"
        if self.kind == "class" and largest > self.largest:
            return "the last axis of the logits must have one entry for each class"
        if self.kind == "class":
            return "examples without a class get weight 0: (inputs, labels, weights) with weights = labels >= 0"
        if self.kind == "sign" and (least, largest) == (0, 1):
            return "write 2 * labels - 1"
        return "write (labels + 1) / 2" if self.kind == "share" and (least, largest) == (-1, 1) else "check the data"

    def __str__(self) -> str:
        """The labels in words."""
        if self.kind == "class":
            return f"classes from {self.least} to {self.largest}"
        return "-1 or 1" if self.kind == "sign" else "from 0 to 1"


class _Noted:
    """What is noted while a program is traced."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Any, str]] = {}
        self.labels: list[tuple[str, Allowed, bool]] = []


_noted: contextvars.ContextVar[_Noted | None] = contextvars.ContextVar("noted", default=None)
_all_count: contextvars.ContextVar[bool] = contextvars.ContextVar("all_count", default=False)


@contextlib.contextmanager
def check_labels_of(name: str, data: Any) -> Iterator[None]:
    """Trace a program on batches of `data` in this context: labels that its loss does not take are then a ValueError.

    Labels that a loss of one's own may leave out are an error only if they are the classes, counted from 1.

    Example:
        >>> from jaxnets import losses
        >>> labels = jnp.array([1, 2, 3])
        >>> def program(labels):
        ...     note_rows(labels)
        ...     return losses.cross_entropy(jnp.zeros((3, 3)), labels)
        >>> with check_labels_of("data", labels):
        ...     _ = jax.eval_shape(program, labels)
        Traceback (most recent call last):
        ...
        ValueError: data: cross_entropy takes labels that are classes from 0 to 2, got 1 to 3; write labels - 1
    """
    noted = _Noted()
    token = _noted.set(noted)
    try:
        yield
    finally:
        _noted.reset(token)
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(data)}
    for path, allowed, all_count in noted.labels:
        _check(f"{name}{path}", leaves[path], allowed, all_count)


def note_rows(batch: Any, *, part_of: Any = None) -> None:
    """Note that these traced arrays are rows of the data's arrays; see `check_labels_of`.

    They are those at the same paths; or, if the batch is a part of another one, those of that one.
    """
    noted = _noted.get()
    if noted is None:
        return
    whole = jax.tree.leaves(batch if part_of is None else part_of)
    for (path, leaf), of in zip(jax.tree_util.tree_leaves_with_path(batch), whole, strict=True):
        if part_of is None:
            noted.rows[id(leaf)] = leaf, jax.tree_util.keystr(path)
        elif id(of) in noted.rows:
            noted.rows[id(leaf)] = leaf, noted.rows[id(of)][1]


def note_labels(labels: Any, allowed: Allowed) -> None:
    """Note which labels a loss takes; see `check_labels_of`."""
    noted = _noted.get()
    if noted is not None and id(labels) in noted.rows:
        noted.labels.append((noted.rows[id(labels)][1], allowed, _all_count.get()))


@contextlib.contextmanager
def all_labels_count(yes: bool) -> Iterator[None]:
    """In this context, the result of a loss is used for every label, so that none may be invalid."""
    token = _all_count.set(yes)
    try:
        yield
    finally:
        _all_count.reset(token)


def _check(name: str, leaf: Any, allowed: Allowed, all_count: bool) -> None:
    if not is_here(leaf) or not np.size(leaf):
        return
    labels = np.asarray(leaf)
    if allowed.counts_from_one(labels) or (all_count and not allowed.holds(labels)):
        form = "g" if np.issubdtype(labels.dtype, np.floating) else ""
        raise ValueError(
            f"{name}: {allowed.function} takes labels that are {allowed}, got {labels.min():{form}} to "
            f"{labels.max():{form}}; {allowed.advice(labels)}"
        )


def is_here(array: Any) -> bool:
    """Whether the values of an array can be looked at: it is not traced, nor partly on other hosts."""
    if isinstance(array, jax.core.Tracer):
        return False
    return not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated


_NUMBER_CLASSES = "number the classes from 0: np.unique(labels, return_inverse=True)[1]"


def check_integers(name: str, array: Any, *, advice: str = _NUMBER_CLASSES) -> None:
    """Raise ValueError if integers of a NumPy array would be cut to 32 bits on the way to the device.

    Example:
        >>> check_integers("labels", np.array([0, 2**31 - 1]))
    """
    if not isinstance(array, np.ndarray | np.generic) or not np.issubdtype(array.dtype, np.integer) or not array.size:
        return
    dtype = jnp.result_type(array)
    if dtype == array.dtype:
        return
    limits, least, largest = np.iinfo(dtype), int(array.min()), int(array.max())
    if least < limits.min or largest > limits.max:
        raise ValueError(
            f"{name}: JAX has integers as {dtype}, got {array.dtype} from {least} to {largest}, which do not fit; "
            f"{advice}"
        )
