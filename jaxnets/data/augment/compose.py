"""Chains of augmentations, and augmentation in training."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import jax.numpy as jnp

from jaxnets.layer import names_errors
from jaxnets.nn.check import require_key
from jaxnets.random import subkey
from jaxnets.tree import describe
from jaxnets.types import Array, Key, Params, PyTree, State

if TYPE_CHECKING:
    from jaxnets.metrics import Mean
    from jaxnets.training.gradient import Loss

Augmentation: TypeAlias = Callable[..., Array]
"""`augment(images, *, key) -> images`, a pure function."""


@names_errors
def chain(*augmentations: Augmentation) -> Augmentation:
    """Apply augmentations one after the other.

    Each has its own key, derived from the name of its function (the one inside `functools.partial`) and, for repeated
    names, from the number of earlier occurrences. So adding, removing or moving one leaves the random numbers of
    functions with other names unchanged.

    Args:
        *augmentations: functions `augment(images, *, key)`; fix their settings with `functools.partial`.

    Returns:
        `augment(images, *, key)`, an augmentation itself.

    Raises:
        TypeError: if one of them is not a function.
        ValueError: by the returned function, without a key.

    Example:
        >>> from functools import partial
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets.data import augment
        >>> both = chain(augment.random_flip, partial(augment.random_rotation, degrees=10.0))
        >>> both(jnp.ones((2, 8, 8, 3)), key=jax.random.key(0)).shape
        (2, 8, 8, 3)
    """
    seen: Counter[str] = Counter()
    named: list[tuple[str, Augmentation]] = []
    for augmentation in augmentations:
        if not callable(augmentation):
            raise TypeError(
                f"got {type(augmentation).__name__} instead of a function augment(images, *, key); "
                "write functools.partial(random_rotation, degrees=10.0)"
            )
        name = _name(augmentation)
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name} {seen[name]}", augmentation))

    def chained(images: Array, *, key: Key | None) -> Array:
        base = require_key(key, "chain")
        for name, augmentation in named:
            images = augmentation(images, key=subkey(base, name))
        return images

    return chained


@names_errors
def paired(augment: Augmentation, labels: Augmentation | None = None) -> Callable[..., tuple[Array, Array]]:
    """Move images and their label maps alike: the same windows, flips and angles for both.

    What a geometric augmentation draws depends on the key and on the image's index in the batch, so the label maps get
    the same draws as the images if they get the same key.

    Args:
        augment: `augment(images, *, key)`, such as `random_crop`, `random_flip` or a `chain`.
        labels: the same for label maps `[batch, height, width, 1]`, floating point, if its settings differ:
            `fill=255` for what comes from outside, and `method="nearest"` where images are interpolated. In a `chain`
            leave functions that change colors only out. By default `augment`.

    Returns:
        `move(images, labels, *, key) -> (images, labels)`, for integer labels `[batch, height, width]` below 2^24; the
        `mix` of `augmented`.

    Raises:
        TypeError: by the returned function, if the labels are not integers.
        ValueError: by the returned function, without a key, or if the labels are not `[batch, height, width]`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from functools import partial
        >>> from jaxnets.data import augment
        >>> move = paired(augment.chain(partial(augment.random_crop, size=4), augment.random_flip))
        >>> labels = jnp.arange(72).reshape(2, 6, 6)
        >>> moved, moved_labels = move(labels[..., None].astype(float), labels, key=jax.random.key(0))
        >>> bool((moved[..., 0].astype(int) == moved_labels).all()), moved_labels.shape
        (True, (2, 4, 4))
    """
    move_labels = augment if labels is None else labels

    def move(images: Array, labels: Array, *, key: Key | None) -> tuple[Array, Array]:
        base = require_key(key, "paired")
        labels = jnp.asarray(labels)
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(f"paired: labels must be integers, got {labels.dtype}")
        if labels.shape != images.shape[:3]:
            raise ValueError(
                f"paired: labels must be [batch, height, width], here {list(images.shape[:3])}, got "
                f"{list(labels.shape)}"
            )
        moved = move_labels(labels.astype(jnp.float32)[..., None], key=base)
        return augment(images, key=base), jnp.round(moved[..., 0]).astype(labels.dtype)

    return move


def _name(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


@names_errors
def augmented(
    loss: Loss, augment: Augmentation | None = None, *, mix: Callable[..., tuple[Array, Array]] | None = None
) -> Loss:
    """Augment the batches of a loss in training, on the device and inside the compiled step.

    The random numbers depend on the key of the step, so a resumed run sees the same images, and `fit`, scanned steps
    and several devices work without further changes. In evaluation the batches are not changed.

    Args:
        loss: `loss(params, state, batch, *, key, train)` whose batches are pairs (images, labels), or triples with
            weights; see `jaxnets.training.supervised`.
        augment: `augment(images, *, key)`, such as `random_flip` or a `chain`.
        mix: `mix(images, labels, *, key)`, such as `mixup`, `cutmix` or what `paired` returns, applied after
            `augment`. For integer labels, `mixup` needs a function that first converts them to probabilities.

    Returns:
        A loss for `jaxnets.training.make_step` and `make_evaluate`.

    Raises:
        ValueError: by the returned loss, in training, without a key, if the batch is neither pair nor triple, or if
            there are weights and `mix`, since mixed images would need weights of their own.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets.data import augment
        >>> def loss(params, state, batch, *, key, train):
        ...     images, labels = batch
        ...     return jnp.mean(images), (state, {"labels": labels.shape})
        >>> def mix(images, labels, *, key):
        ...     return augment.mixup(images, jax.nn.one_hot(labels, 10), key=key)
        >>> training_loss = augmented(loss, augment.random_flip, mix=mix)
        >>> batch = jnp.ones((4, 8, 8, 1)), jnp.arange(4)
        >>> training_loss({}, {}, batch, key=jax.random.key(0), train=True)[1][1]
        {'labels': (4, 10)}
        >>> training_loss({}, {}, batch, key=None, train=False)[1][1]
        {'labels': (4,)}
    """

    def augmented_loss(
        params: Params, state: State, batch: Any, *, key: Key | None, train: bool
    ) -> tuple[Array | Mean, tuple[State, PyTree]]:
        if not train:
            return loss(params, state, batch, key=key, train=train)
        base = require_key(key, "augmented")
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise ValueError(f"a batch must be (images, labels) or (images, labels, weights), got {describe(batch)}")
        images, labels, *weights = batch
        if weights and mix is not None:
            raise ValueError("mix= takes no weights; give it a batch (images, labels)")
        if augment is not None:
            images = augment(images, key=subkey(base, "augment"))
        if mix is not None:
            images, labels = mix(images, labels, key=subkey(base, "mix"))
        return loss(params, state, (images, labels, *weights), key=key, train=train)

    augmented_loss.compute_dtype = getattr(loss, "compute_dtype", None)  # type: ignore[attr-defined]
    return augmented_loss
