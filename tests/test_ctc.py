"""CTC against PyTorch, the definition, and `itertools`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from jaxnets.ctc import ctc_greedy, ctc_loss
from tests.forms import float64
from tests.oracles import normal
from tests.torch_oracle import assert_parity

LABELS = np.array([[1, 2, 2, 2, 4], [3, 3, 1, 3, 1], [2, 4, 4, 4, 4], [1, 1, 1, 1, 1]])
LABEL_LENGTHS, LOGIT_LENGTHS = np.array([3, 5, 1, 0]), np.array([9, 7, 5, 4])


def ours(logits, blank=0, labels=LABELS):
    return ctc_loss(logits, labels, logit_lengths=LOGIT_LENGTHS, label_lengths=LABEL_LENGTHS, blank=blank)


def theirs(logits, blank=0, labels=LABELS):
    log_probabilities = functional.log_softmax(logits, -1).movedim(1, 0)
    lengths = torch.tensor(LOGIT_LENGTHS), torch.tensor(LABEL_LENGTHS)
    return functional.ctc_loss(log_probabilities, torch.tensor(labels), *lengths, blank=blank, reduction="none")


@pytest.mark.parametrize("scale", [1, 10])
@pytest.mark.parametrize("blank", [0, 5])
def test_values_and_gradients_equal_torch(blank, scale):
    assert_parity(
        lambda logits: ours(logits, blank), lambda logits: theirs(logits, blank), scale * normal(4, 9, 6), rtol=1e-4
    )


def test_definition():
    """The probabilities of all alignments that stand for each of the labels, added up; in all they are 1."""
    logits = np.asarray(2 * normal(1, 4, 3), np.float64)
    probabilities = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    expected = {}
    for alignment in itertools.product(range(3), repeat=4):
        labels = tuple(label for label, _ in itertools.groupby(alignment) if label)
        expected[labels] = expected.get(labels, 0) + np.prod(probabilities[range(4), alignment])
    for labels, probability in expected.items():
        padded = np.array([[*labels, *[0] * (4 - len(labels))]])
        lengths = {"logit_lengths": np.array([4]), "label_lengths": np.array([len(labels)])}
        loss = ctc_loss(logits.astype(np.float32), padded, **lengths)
        np.testing.assert_allclose(np.exp(-loss[0]), probability, rtol=1e-5)


def test_what_is_padding_does_not_count():
    logits, labels = np.array(normal(4, 9, 6)), LABELS.copy()
    value, slope = jax.value_and_grad(lambda x: jnp.sum(ours(x)))(logits)
    for row in range(4):
        logits[row, LOGIT_LENGTHS[row] :] = np.nan
        labels[row, LABEL_LENGTHS[row] :] = -7
    padded, padded_slope = jax.value_and_grad(lambda x: jnp.sum(ours(x, labels=labels)))(logits)
    np.testing.assert_allclose(padded, value, rtol=1e-6)
    np.testing.assert_allclose(padded_slope, slope, atol=1e-6)
    assert all(not slope[row, LOGIT_LENGTHS[row] :].any() for row in range(4))


def test_too_few_frames_are_infinite_as_in_torch():
    logits, labels, lengths = normal(4, 3, 4), np.array([[1, 2, 3], [1, 1, 2], [1, 1, 1], [1, 2, 1]]), [3, 3, 2, 3]
    frames = [3, 3, 3, 2]
    loss = ctc_loss(logits, labels, logit_lengths=np.array(frames), label_lengths=np.array(lengths))
    log_probabilities = functional.log_softmax(torch.tensor(np.asarray(logits)), -1).movedim(1, 0)
    expected = functional.ctc_loss(log_probabilities, torch.tensor(labels), frames, lengths, reduction="none")
    np.testing.assert_allclose(loss, expected.numpy(), rtol=1e-5)
    assert np.isinf(loss).tolist() == [False, True, False, True]


def test_no_frames_stand_for_no_labels():
    """The empty alignment stands for no labels, and for nothing else."""
    lengths = jnp.array([0, 1])
    losses = ctc_loss(
        jnp.zeros((2, 0, 3)), jnp.ones((2, 1), jnp.int32), logit_lengths=jnp.zeros(2, jnp.int32), label_lengths=lengths
    )
    np.testing.assert_array_equal(losses, [0.0, np.inf])


def test_a_class_excluded_by_a_logit_of_minus_infinity_is_as_in_torch():
    """Labels that need it are impossible; the others count as if the class were not there."""
    logits = jnp.asarray(normal(4, 7, 5)).at[:, :, 4].set(-jnp.inf)
    labels, frames, lengths = np.array([[1, 2, 3], [1, 1, 2], [4, 1, 2], [1, 2, 0]]), [7, 5, 7, 3], [3, 3, 3, 2]

    def loss(logits, rows):
        counts = {"logit_lengths": np.array(frames)[rows], "label_lengths": np.array(lengths)[rows]}
        return ctc_loss(logits, labels[rows], **counts)

    log_probabilities = functional.log_softmax(torch.tensor(np.asarray(logits)), -1).movedim(1, 0)
    expected = functional.ctc_loss(log_probabilities, torch.tensor(labels), frames, lengths, reduction="none")
    np.testing.assert_allclose(loss(logits, slice(4)), expected, rtol=1e-5)
    assert torch.isinf(expected).tolist() == [False, False, True, False]
    possible = np.array([0, 1, 3])
    slopes = (jax.grad(lambda x: jnp.sum(loss(x, possible)))(x[possible]) for x in (logits, logits[:, :, :4]))
    excluded, without = slopes
    np.testing.assert_allclose(excluded, np.pad(without, ((0, 0), (0, 0), (0, 1))), atol=1e-6)


def test_losses_of_very_unlikely_labels_are_not_cut():
    """Each of the 300 labels has the logit -500 in each of 600 frames, and blanks between cost nothing."""
    logits = jnp.zeros((1, 600, 3)).at[:, :, 1:].set(-500.0)
    labels = np.array([[1] * 250 + [2] * 50])
    loss = ctc_loss(logits, labels, logit_lengths=np.array([600]), label_lengths=np.array([300]))
    log_probabilities = functional.log_softmax(torch.tensor(np.asarray(logits)), -1).movedim(1, 0)
    expected = functional.ctc_loss(log_probabilities, torch.tensor(labels), [600], [300], reduction="none")
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_wrong_labels_are_nan_in_their_place_only():
    labels = np.array([[1, 2], [0, 1], [1, 9], [1, -1], [1, 0]])
    lengths = {"logit_lengths": np.full(5, 4), "label_lengths": np.array([2, 2, 2, 2, 1])}
    loss = jax.jit(lambda x: ctc_loss(x, labels, **lengths))(normal(5, 4, 3))
    assert np.isnan(loss).tolist() == [False, True, True, True, False]


def test_precision():
    assert ours(jnp.asarray(normal(4, 9, 6), jnp.bfloat16)).dtype == jnp.float32
    with float64():
        loss = ours(np.asarray(normal(4, 9, 6), np.float64))
        assert loss.dtype == jnp.float64
        assert ours(normal(4, 9, 6)).dtype == jnp.float32
    np.testing.assert_allclose(loss, theirs(torch.tensor(np.asarray(normal(4, 9, 6), np.float64))), rtol=1e-6)


@pytest.mark.parametrize("blank", [0, 2])
def test_greedy_is_groupby(blank):
    frames = np.random.default_rng(0).integers(0, 3, (20, 12))
    counts = np.random.default_rng(1).integers(0, 13, 20)
    logits = np.eye(3, dtype=np.float32)[frames]
    labels, lengths = jax.jit(lambda x, n: ctc_greedy(x, logit_lengths=n, blank=blank))(logits, counts)
    for row, found, length, count in zip(frames, labels, lengths, counts, strict=True):
        expected = [int(label) for label, _ in itertools.groupby(row[:count]) if label != blank]
        assert found[:length].tolist() == expected
        assert (np.asarray(found[length:]) == blank).all()


def test_errors():
    logits, lengths = normal(2, 5, 3), {"logit_lengths": np.array([5, 5]), "label_lengths": np.array([1, 1])}
    labels = np.array([[1, 2], [2, 1]])
    with pytest.raises(ValueError, match=r"need labels \[batch, length\] and label_lengths \[batch\], got .*\[1, 2\]"):
        ctc_loss(logits, labels[:1], **lengths)
    with pytest.raises(ValueError, match="blank must be a class from 0 to 2, got 3"):
        ctc_loss(logits, labels, **lengths, blank=3)
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        ctc_loss(logits, labels.astype(np.float32), **lengths)
    with pytest.raises(ValueError, match=r"labels must be \[batch, length\], got \[2\]"):
        ctc_loss(logits, labels[0], **lengths)
    with pytest.raises(ValueError, match=r"\[batch, frames, classes\] and logit_lengths \[batch\], got \[5, 3\] and"):
        ctc_greedy(logits[0], logit_lengths=np.array([5, 5]))


def test_what_is_no_number_stays_so():
    """A NaN among logits that count, and lengths below 0; behind the last frame NaN means nothing."""
    logits = jnp.zeros((4, 3, 3)).at[0].set(jnp.nan).at[1, 2].set(jnp.nan)
    found = ctc_loss(
        logits, jnp.ones((4, 1), int), logit_lengths=jnp.array([3, 2, -1, 3]), label_lengths=jnp.array([1, 1, 1, -1])
    )
    # three of the nine alignments of two frames stand for the label: 1-, -1 and 11
    np.testing.assert_allclose(found, [np.nan, np.log(3), np.nan, np.nan], rtol=1e-6)
