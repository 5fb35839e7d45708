"""Dice losses against the formula in PyTorch and hard masks against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics
import torch
from torch.nn import functional

from jaxnets import losses, make_model, nn, training
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity

GENERATOR = np.random.default_rng(0)
LABELS, BINARY = GENERATOR.integers(0, 3, (2, 4, 5)), GENERATOR.integers(0, 2, (2, 4, 5))
MASK = GENERATOR.integers(0, 2, (2, 4, 5)).astype(bool)


@quick_jit
def dice(logits, labels, mask=None):
    return losses.dice(logits, labels, mask=mask)


def torch_dice(logits, labels, mask=None, smooth=1.0):
    """Images one by one, the pixels that count picked out."""
    results = []
    for image in range(len(logits)):
        z, y = logits[image], labels[image]
        if mask is not None:
            z, y = z[torch.tensor(mask[image])], y[torch.tensor(mask[image])]
        p = z.flatten(0, -2).softmax(-1)
        y = functional.one_hot(y.flatten(), p.shape[-1]).to(p.dtype)
        results.append(1 - ((2 * (p * y).sum(0) + smooth) / (p.sum(0) + y.sum(0) + smooth)).mean())
    return torch.stack(results)


def torch_binary_dice(logits, labels, mask=None, smooth=1.0):
    p, y = logits.sigmoid(), labels.to(logits.dtype)
    m = torch.ones_like(p) if mask is None else torch.tensor(mask).to(p.dtype)
    overlap, total = ((m * x).flatten(1).sum(1) for x in (p * y, p + y))
    return 1 - (2 * overlap + smooth) / (total + smooth)


@pytest.mark.parametrize("settings", [{}, {"smooth": 0.0}, {"mask": MASK}], ids=["", "unsmoothed", "masked"])
def test_values_and_gradients_are_those_of_the_formula_in_torch(settings):
    assert_parity(
        lambda z, y: losses.dice(z, y, **settings),
        lambda z, y: torch_dice(z, y, **settings),
        normal(2, 4, 5, 3),
        LABELS,
    )
    assert_parity(
        lambda z, y: losses.binary_dice(z, y, **settings),
        lambda z, y: torch_binary_dice(z, y, **settings),
        normal(2, 4, 5),
        BINARY,
    )


def test_certain_predictions_have_one_minus_sklearns_f1():
    found, there = GENERATOR.integers(0, 3, (2, 30)), GENERATOR.integers(0, 3, (2, 30))
    values = losses.dice(200.0 * jax.nn.one_hot(found, 3), there, smooth=0.0)
    expected = [1 - sklearn.metrics.f1_score(y, p, average="macro") for p, y in zip(found, there, strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_one_hot_labels_are_their_classes():
    logits = normal(2, 4, 5, 3)
    one_hot = np.eye(3, dtype=np.float32)[LABELS]
    for mask in (None, MASK):
        expected = dice(logits, LABELS, mask)
        np.testing.assert_allclose(dice(logits, one_hot, mask), expected, rtol=1e-6)


def test_what_is_masked_may_hold_anything():
    logits = np.where(MASK[..., None], normal(2, 4, 5, 3), np.nan)
    labels = np.where(MASK, LABELS, 255)

    def total(z, y):
        return jnp.sum(losses.dice(z, y, mask=MASK))

    value, slope = quick_jit(jax.value_and_grad(total))(logits, labels)
    np.testing.assert_allclose(value, total(normal(2, 4, 5, 3), LABELS), rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(slope)))
    binary = losses.binary_dice(logits[..., 0], np.where(MASK, BINARY, 255), mask=MASK)
    np.testing.assert_allclose(binary, losses.binary_dice(normal(2, 4, 5, 3)[..., 0], BINARY, mask=MASK), rtol=1e-6)


def test_labels_without_meaning_make_their_image_nan():
    for label in (-1, 3):
        wrong = np.where(np.arange(2)[:, None, None] == 1, label, LABELS)
        np.testing.assert_array_equal(np.isnan(dice(normal(2, 4, 5, 3), wrong)), [False, True])
        np.testing.assert_array_equal(np.isnan(losses.binary_dice(normal(2, 4, 5), wrong // 2)), [False, label < 0])


@pytest.mark.parametrize("binary", [False, True])
def test_fit_takes_void_labels_that_are_masked_and_refuses_others(binary):
    labels = np.where(MASK, BINARY, 255)
    loss = losses.binary_dice if binary else losses.dice

    def apply(params, state, x, *, key=None, train):
        logits = nn.linear(params, x)
        return logits.squeeze(-1) if binary else logits, state

    model = make_model(nn.linear_spec(1, 1 if binary else 2), apply)

    def train(loss):
        step = training.make_step(training.supervised(model, loss), optax.sgd(0.1))
        start = training.init_train_state(model, optax.sgd(0.1), seed=0)
        data = np.ones((2, 4, 5, 1), np.float32), labels
        return training.fit(start, step, data, epochs=1, batch_size=2, callbacks=())

    assert train(lambda z, y: loss(z, y, mask=y != 255)).metrics["train"]["loss"] > 0
    with pytest.raises(ValueError, match=rf"{loss.__name__} takes labels .* got 0 to 255"):
        train(loss)


def test_an_image_without_the_class_is_right_if_none_is_found():
    np.testing.assert_allclose(losses.binary_dice(jnp.full((1, 9), -100.0), jnp.zeros((1, 9))), 0, atol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"dice: logits must be \[batch, \*spatial, classes\], got \[4, 3\]"):
        losses.dice(jnp.zeros((4, 3)), jnp.zeros(4, int))
    with pytest.raises(ValueError, match=r"binary_dice: logits must be \[batch, \*spatial\], got \[4\]"):
        losses.binary_dice(jnp.zeros(4), jnp.zeros(4))
    with pytest.raises(ValueError, match=r"mask must be \[2, 4\], one for each pixel, got \[4\]"):
        losses.binary_dice(jnp.zeros((2, 4)), jnp.zeros((2, 4)), mask=jnp.ones(4))
    with pytest.raises(ValueError, match="smooth must not be negative, got -1"):
        losses.dice(jnp.zeros((1, 4, 2)), jnp.zeros((1, 4), int), smooth=-1)
