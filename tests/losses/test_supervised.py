"""Losses against PyTorch and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
import torch
from torch.nn import functional

from jaxnets import losses
from tests.forms import float64
from tests.oracles import normal
from tests.torch_oracle import assert_parity

LABELS = np.array([2, 0, 1, 2])
SEQUENCE = np.arange(6).reshape(2, 3) % 4
SIGNS = np.array([1, -1, -1, 1])
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [1, 0, 0], [0, 0.25, 0.75], [0.1, 0.1, 0.8]], np.float32)


def torch_cross_entropy(logits, labels, **settings):
    labels = labels.movedim(-1, 1) if labels.is_floating_point() else labels.long()
    return functional.cross_entropy(logits.movedim(-1, 1), labels, reduction="none", **settings)


# name, our loss, torch's, predictions, targets
PAIRS = {
    "mse": (
        losses.squared_error,
        lambda p, t: functional.mse_loss(p, t, reduction="none"),
        normal(4, 3),
        normal(4, 3),
    ),
    "mae": (
        losses.absolute_error,
        lambda p, t: functional.l1_loss(p, t, reduction="none"),
        normal(4),
        normal(4, seed=1),
    ),
    "mae-at-0": (
        losses.absolute_error,
        lambda p, t: functional.l1_loss(p, t, reduction="none"),
        normal(4),
        normal(4),
    ),
    "huber": (
        lambda p, t: losses.huber(p, t, delta=0.7),
        lambda p, t: functional.huber_loss(p, t, reduction="none", delta=0.7),
        2 * normal(4, 5),
        normal(4, 5, seed=1),
    ),
    "smooth-l1": (
        lambda p, t: losses.huber(p, t, delta=0.7) / 0.7,
        lambda p, t: functional.smooth_l1_loss(p, t, reduction="none", beta=0.7),
        2 * normal(4, 5),
        normal(4, 5, seed=1),
    ),
    "binary": (
        losses.binary_cross_entropy,
        lambda p, t: functional.binary_cross_entropy_with_logits(p, t.float(), reduction="none"),
        np.array([-90.0, -1.0, 0.0, 30.0], np.float32),
        np.array([1, 0, 1, 0]),
    ),
    "binary-soft": (
        losses.binary_cross_entropy,
        lambda p, t: functional.binary_cross_entropy_with_logits(p, t, reduction="none"),
        normal(4, 3),
        PROBABILITIES,
    ),
    "classes": (losses.cross_entropy, torch_cross_entropy, 20 * normal(4, 3), LABELS),
    "classes-sequence": (losses.cross_entropy, torch_cross_entropy, normal(2, 3, 4), SEQUENCE),
    "classes-smoothed": (
        lambda p, t: losses.cross_entropy(p, t, label_smoothing=0.1),
        lambda p, t: torch_cross_entropy(p, t, label_smoothing=0.1),
        normal(4, 3),
        LABELS,
    ),
    "probabilities": (losses.cross_entropy, torch_cross_entropy, normal(4, 3), PROBABILITIES),
    "probabilities-smoothed": (
        lambda p, t: losses.cross_entropy(p, t, label_smoothing=0.3),
        lambda p, t: torch_cross_entropy(p, t, label_smoothing=0.3),
        normal(4, 3),
        PROBABILITIES,
    ),
    "hinge": (losses.hinge, lambda p, t: torch.clamp(1 - p * t, min=0), 2 * normal(4), SIGNS),
    "exponential": (losses.exponential, lambda p, t: torch.exp(-p * t), 2 * normal(4), SIGNS),
    "kl": (
        losses.kl_divergence,
        lambda p, t: functional.kl_div(functional.log_softmax(p, -1), t, reduction="none").sum(-1),
        normal(4, 3),
        PROBABILITIES[[0, 3, 0, 3]],
    ),
}
pairs = pytest.mark.parametrize("name", PAIRS)


@pairs
def test_values_and_gradients_equal_torch(name):
    ours, theirs, predictions, targets = PAIRS[name]
    assert_parity(ours, theirs, predictions, targets)


@pairs
def test_low_precision_predictions_give_float32_losses(name):
    ours, _, predictions, targets = PAIRS[name]
    low = jnp.asarray(predictions, jnp.bfloat16)
    result = ours(low, targets)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, ours(low.astype(jnp.float32), targets))


@pairs
def test_float64_stays_float64(name):
    ours, theirs, predictions, targets = PAIRS[name]
    with float64():
        wide = targets.astype(np.float64) if targets.dtype == np.float32 else targets
        result = ours(predictions.astype(np.float64), wide)
        assert result.dtype == jnp.float64
    expected = theirs(torch.tensor(predictions, dtype=torch.float64), torch.tensor(wide))
    np.testing.assert_allclose(result, expected.numpy(), rtol=1e-6 if name.startswith("binary") else 1e-12, atol=1e-15)


@pairs
def test_jit_and_vmap_give_each_example_its_loss(name):
    ours, _, predictions, targets = PAIRS[name]
    expected = ours(predictions, targets)
    np.testing.assert_allclose(jax.jit(ours)(predictions, targets), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(ours)(jnp.asarray(predictions), jnp.asarray(targets)), expected, rtol=1e-6)


def test_one_hot_equals_integer_labels():
    logits = normal(2, 3, 4)
    one_hot = np.eye(4, dtype=np.float32)[SEQUENCE]
    for smoothing in (0.0, 0.2):
        expected = losses.cross_entropy(logits, SEQUENCE, label_smoothing=smoothing)
        actual = losses.cross_entropy(logits, one_hot, label_smoothing=smoothing)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_excluded_classes_have_no_part():
    """A logit of -inf excludes a class: the loss is that of the other classes, and so is the gradient."""
    logits, excluded = normal(4, 3), np.concatenate([normal(4, 3), np.full((4, 1), -np.inf, np.float32)], axis=1)
    wider = np.pad(PROBABILITIES, ((0, 0), (0, 1)))
    one_hot = np.eye(3, dtype=np.float32)[LABELS]
    for loss, narrow_labels, wide_labels in [
        (losses.cross_entropy, LABELS, LABELS),
        (losses.cross_entropy, one_hot, np.pad(one_hot, ((0, 0), (0, 1)))),
        (losses.cross_entropy, PROBABILITIES, wider),
        (losses.kl_divergence, PROBABILITIES, wider),
    ]:
        expected, slope = jax.value_and_grad(lambda x, f=loss, t=narrow_labels: f(x, t).sum())(logits)
        actual, wide_slope = jax.value_and_grad(lambda x, f=loss, t=wide_labels: f(x, t).sum())(excluded)
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
        np.testing.assert_allclose(wide_slope, np.pad(slope, ((0, 0), (0, 1))), rtol=1e-5, atol=1e-6)


def test_a_logit_of_infinity_is_certain():
    """As for `cross_entropy`: what a mask excluded by -inf, and is labeled 0, costs nothing."""
    logits, labels = np.array([np.inf, -np.inf, np.inf, -np.inf], np.float32), np.array([1, 0, 0, 1])
    np.testing.assert_array_equal(losses.binary_cross_entropy(logits, labels), [0, 0, np.inf, np.inf])
    slope = jax.grad(lambda x: losses.binary_cross_entropy(x, labels[:2]).sum())(logits[:2])
    np.testing.assert_array_equal(slope, [0, 0])


def test_kl_divergence_is_zero_of_equal_distributions_and_takes_log_probabilities():
    probabilities = jax.nn.softmax(normal(4, 3))
    np.testing.assert_allclose(losses.kl_divergence(jnp.log(probabilities), probabilities), 0, atol=1e-7)
    np.testing.assert_allclose(losses.kl_divergence(normal(4, 3) + 5, probabilities), 0, atol=1e-6)


def test_hinge_equals_sklearn():
    decisions = 2 * normal(50)
    signs = np.where(normal(50, seed=1) > 0, 1, -1)
    np.testing.assert_allclose(
        jnp.mean(losses.hinge(decisions, signs)), sklearn.metrics.hinge_loss(signs, decisions), rtol=1e-6
    )


def test_exponential_loss_is_least_at_half_the_log_odds():
    """Friedman et al. 2000: with a share p of ones, f = log(p / (1 - p)) / 2, and the loss is 2 sqrt(p (1 - p))."""
    signs = np.array([1.0] * 8 + [-1.0] * 2, np.float32)

    def mean_loss(f):
        return jnp.mean(losses.exponential(jnp.full(10, f), signs))

    best = jnp.log(0.8 / 0.2) / 2
    np.testing.assert_allclose(jax.grad(mean_loss)(best), 0, atol=1e-6)
    np.testing.assert_allclose(mean_loss(best), 2 * np.sqrt(0.8 * 0.2), rtol=1e-6)


@pytest.mark.parametrize(
    ("loss", "predictions", "labels"),
    [
        (losses.cross_entropy, jnp.ones((3, 2)), [0, 2, -1]),
        (lambda p, t: losses.cross_entropy(p, t, label_smoothing=0.1), jnp.ones((3, 2)), [0, 2, -100]),
        (losses.binary_cross_entropy, jnp.ones(3), [1, 2, -1]),
        (losses.hinge, jnp.ones(3), [1, 0, 2]),
        (losses.exponential, jnp.ones(3), [1, 0, 2]),
    ],
)
def test_labels_without_meaning_give_nan_in_their_place_only(loss, predictions, labels):
    result = jax.jit(loss)(predictions, jnp.asarray(labels))
    np.testing.assert_array_equal(jnp.isnan(result), [False, True, True])


@pytest.mark.parametrize("rows", [[[0.5, 0.5], [5, -4], [1, 1]], [[0, 1], [0, 0], [0.5, 0.48]]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_labels_that_are_no_probabilities_give_nan(rows, smoothing):
    result = losses.cross_entropy(jnp.zeros((3, 2)), jnp.asarray(rows, jnp.float32), label_smoothing=smoothing)
    np.testing.assert_array_equal(jnp.isnan(result), [False, True, True])
    np.testing.assert_allclose(result[0], np.log(2), rtol=1e-6)


@pytest.mark.parametrize("labels", [np.array([[1, 3]]), jnp.array([[3, 3]]), np.array([[1, 3]], np.uint8)])
def test_classes_that_count_from_one_are_refused_where_they_can_be_seen(labels):
    message = rf"cross_entropy: labels count classes from 0 to 2, got {labels.min()} to 3; write labels - 1"
    with pytest.raises(ValueError, match=message):
        losses.cross_entropy(normal(1, 2, 3), labels)
    assert np.isnan(jax.jit(losses.cross_entropy)(normal(1, 2, 3), labels)[0, 1])


@pytest.mark.parametrize("padding", [-1, 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_masked_padding_leaves_value_and_gradient_alone(padding, smoothing):
    logits, labels = normal(4, 3), np.array([2, 0, padding, padding])

    def total(logits, labels):
        values = losses.cross_entropy(logits, labels, label_smoothing=smoothing)
        return jnp.sum(jnp.where((labels >= 0) & (labels < 3), values, 0))

    expected, slope = jax.value_and_grad(total)(logits[:2], labels[:2])
    actual, padded_slope = jax.value_and_grad(total)(logits, labels)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(padded_slope, np.pad(slope, ((0, 2), (0, 0))), rtol=1e-6)


ENTRY_WISE = [
    losses.squared_error,
    losses.absolute_error,
    losses.huber,
    losses.binary_cross_entropy,
    losses.hinge,
    losses.exponential,
]


@pytest.mark.parametrize("loss", ENTRY_WISE, ids=lambda f: f.__name__)
def test_nothing_is_broadcast(loss):
    name = loss.__name__
    with pytest.raises(ValueError, match=rf"{name}: .* must have the same shape, got \[4, 1\] and \[4\]; write .*resh"):
        loss(jnp.ones((4, 1)), jnp.ones(4))
    with pytest.raises(ValueError, match=r"got \[4, 3\] and \[3\]$"):
        loss(jnp.ones((4, 3)), jnp.ones(3))
    with pytest.raises(TypeError, match=rf"{name}: .* must be floating point, got int32; write .*astype"):
        loss(jnp.ones(4, jnp.int32), jnp.ones(4))
    with pytest.raises(TypeError, match="must hold real numbers, got complex64"):
        loss(jnp.ones(4), jnp.ones(4, jnp.complex64))


@pytest.mark.parametrize(
    ("error", "message", "logits", "labels"),
    [
        (
            ValueError,
            r"integers \[4\] or probabilities \[4, 3\], got int32 \[4, 1\]; write labels.squeeze",
            (4, 3),
            (4, 1),
        ),
        (ValueError, r"got int32 \[5\]$", (4, 3), (5,)),
        (TypeError, r"must be floating point, got int32; write labels.astype\(jnp.float32\)", (4, 3), (4, 3)),
        (ValueError, r"two classes or more, got \[4, 1\]; for one logit per example use the binary", (4, 1), (4,)),
        (ValueError, r"two classes or more, got \[\]", (), ()),
    ],
)
def test_cross_entropy_says_what_does_not_fit(error, message, logits, labels):
    with pytest.raises(error, match=message):
        losses.cross_entropy(jnp.ones(logits), jnp.zeros(labels, jnp.int32))


def test_cross_entropy_refuses_classes_that_are_not_integers():
    with pytest.raises(TypeError, match=r"numbers of classes and must be integers, got float32; write labels.astype"):
        losses.cross_entropy(jnp.ones((4, 3)), jnp.ones(4))


def test_settings_may_be_traced():
    logits, classes, smoothing = normal(4, 3), np.array([0, 2, 1, 1]), jnp.array([0.0, 0.1])
    mapped = jax.vmap(lambda alpha: losses.cross_entropy(logits, classes, label_smoothing=alpha))(smoothing)
    for actual, alpha in zip(mapped, smoothing, strict=True):
        reference = functional.cross_entropy(
            torch.tensor(logits), torch.tensor(classes), reduction="none", label_smoothing=float(alpha)
        )
        np.testing.assert_allclose(actual, reference, rtol=1e-5)
    mapped = jax.vmap(lambda delta: losses.huber(5 * logits, logits, delta=delta))(jnp.array([0.5, 2.0]))
    for actual, delta in zip(mapped, (0.5, 2.0), strict=True):
        wide = torch.tensor(logits)
        np.testing.assert_allclose(
            actual, functional.huber_loss(5 * wide, wide, reduction="none", delta=delta), rtol=1e-5, atol=1e-7
        )


def test_a_probability_of_zero_has_gradients_in_kl_divergence():
    def divergence(logits):  # of a teacher that learns too, whose probabilities underflow
        return losses.kl_divergence(jnp.zeros(3), jax.nn.softmax(logits))

    np.testing.assert_allclose(jax.grad(divergence)(jnp.array([0.0, 0.0, -200.0])), 0, atol=1e-7)
    at_zero = jax.grad(losses.kl_divergence, argnums=1)(jnp.zeros(3), jnp.array([0.25, 0.75, 0.0]))
    np.testing.assert_allclose(at_zero[:2], 1 + np.log([0.25, 0.75]) + np.log(3), rtol=1e-6)  # log p + 1 - log q
    assert at_zero[2] == 0


def test_kl_divergence_refuses_classes():
    with pytest.raises(TypeError, match="targets must be floating point, got int32"):
        losses.kl_divergence(jnp.ones((4, 3)), jnp.ones((4, 3), jnp.int32))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1])
def test_settings_out_of_range_are_refused(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\]"):
        losses.cross_entropy(jnp.ones((4, 3)), jnp.zeros(4, jnp.int32), label_smoothing=smoothing)
    with pytest.raises(ValueError, match="delta must be positive, got 0"):
        losses.huber(jnp.ones(4), jnp.ones(4), delta=0)


def test_forward_mode_of_soft_labels_with_an_excluded_class():
    """By hand: softmax(-inf, 0, 0) - (0, 1, 0); a class of logit -inf and probability 0 has no part in it."""
    logits, labels = jnp.array([[-jnp.inf, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])

    def loss(logits):
        return jnp.sum(losses.cross_entropy(logits, labels))

    for derivative in (jax.grad, jax.jacfwd):
        np.testing.assert_allclose(derivative(loss)(logits), [[0, -0.5, 0.5]], atol=1e-7)


@pytest.mark.parametrize("padding", [-1, 1, 9])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sequence_cross_entropy_is_that_of_torch_with_ignore_index(padding, smoothing):
    mask = np.arange(5) < np.array([5, 1, 3])[:, None]
    labels = np.where(mask, np.random.default_rng(0).integers(0, 4, (3, 5)), padding)

    def ours(logits):
        return losses.sequence_cross_entropy(logits, labels, mask, label_smoothing=smoothing).compute()

    def theirs(logits):
        ignored = torch.tensor(np.where(mask, labels, -100))
        return functional.cross_entropy(logits.movedim(-1, 1), ignored, label_smoothing=smoothing)

    assert_parity(ours, theirs, normal(3, 5, 4))


def test_logits_of_padding_have_no_part_in_the_gradient():
    mask, labels = np.arange(5) < np.array([5, 1, 3])[:, None], np.zeros((3, 5), int)

    def loss(logits):
        return losses.sequence_cross_entropy(logits, labels, mask).compute()

    logits = normal(3, 5, 4)
    value, slope = jax.value_and_grad(loss)(logits)
    found, found_slope = jax.value_and_grad(loss)(jnp.where(mask[..., None], logits, jnp.nan))
    assert found == value
    np.testing.assert_array_equal(found_slope, slope)


def test_sequence_cross_entropy_errors():
    with pytest.raises(ValueError, match=r"need labels and mask \[batch, time\], got \[2, 3, 4\], \[2, 3\] and \[2\]"):
        losses.sequence_cross_entropy(jnp.ones((2, 3, 4)), jnp.zeros((2, 3), int), jnp.ones(2))
    with pytest.raises(TypeError, match="must be integers, got float32"):
        losses.sequence_cross_entropy(jnp.ones((2, 3, 4)), jnp.zeros((2, 3)), jnp.ones((2, 3)))


@pytest.mark.parametrize("targets", [[2.0, 3.0], [0.0, 0.0], [0.6, 0.6], [-0.5, 1.5]])
def test_the_divergence_from_what_is_no_distribution_is_nan(targets):
    found = losses.kl_divergence(jnp.zeros((2, 2)), jnp.array([targets, [0.25, 0.75]]))
    np.testing.assert_array_equal(jnp.isnan(found), [True, False])


def test_hubers_delta_is_finite():
    with pytest.raises(ValueError, match="huber: delta must be positive, got inf; the limit is squared_error"):
        losses.huber(jnp.ones(1), jnp.ones(1), delta=float("inf"))
