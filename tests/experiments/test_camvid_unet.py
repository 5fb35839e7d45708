"""The experiment with road scenes: its weights, loss and scores beside PyTorch's and scikit-learn's."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from experiments.support.segmentation_figures import overlay
from jaxnets import make_model, metrics
from jaxnets.data import CAMVID_VOID
from jaxnets.experiment import with_presets

experiment = importlib.import_module("experiments.camvid_unet")


def test_weights_of_classes_are_those_of_median_frequency_balancing():
    """Two images of 4 pixels: class 0 has 4 of 8 pixels, class 1 has 1 of the 4 of its image, class 3 has 2 of 4."""
    labels = np.array([[[0, 0], [0, 1]], [[0, 3], [3, 11]]], np.int32)
    weights = experiment.class_weights(labels, 1.0)
    np.testing.assert_allclose(weights[[0, 1, 2, 3, 11]], [1, 2, 0, 1, 0])
    np.testing.assert_allclose(experiment.class_weights(labels, 0.5)[[0, 1]], [1, 2**0.5])
    assert experiment.class_weights(labels, 0.0)[[0, 1, 3, 11]].tolist() == [1, 1, 1, 0]


def test_loss_and_scores_ignore_void():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 5, 6, 11)).astype(np.float32)
    labels = generator.integers(0, 12, (2, 5, 6)).astype(np.int32)
    weights = generator.uniform(0.5, 2, 12).astype(np.float32)
    weights[CAMVID_VOID] = 0
    model = make_model({}, lambda params, state, x, *, key=None, train: (jnp.asarray(logits), state))
    loss = experiment.make_loss(model, weights)
    value, (_, measured) = loss({}, {}, (jnp.zeros((2, 5, 6, 3)), labels), key=None, train=False)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits).permute(0, 3, 1, 2), torch.tensor(labels).long(), torch.tensor(weights[:11]),
        ignore_index=CAMVID_VOID,
    )  # fmt: skip
    found = metrics.compute({"value": value} | measured)
    assert float(found["value"]) == pytest.approx(float(expected), rel=1e-5)
    counted = labels != CAMVID_VOID
    truth, predicted = labels[counted], logits.argmax(-1)[counted]
    np.testing.assert_allclose(found["iou"], jaccard_score(truth, predicted, average=None), rtol=1e-5)
    assert float(found["mean_iou"]) == pytest.approx(jaccard_score(truth, predicted, average="macro"), rel=1e-5)
    assert float(found["accuracy"]) == pytest.approx(accuracy_score(truth, predicted))


def test_colors_lie_over_the_gray_image_and_void_is_black():
    colors = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    shown = overlay(np.full((1, 1, 3, 3), [0.3, 0.6, 0.0]), np.array([[[0, 1, 11]]]), colors)
    np.testing.assert_allclose(shown[0, 0], [[0.755, 0.105, 0.105], [0.105, 0.105, 0.755], [0, 0, 0]])


def test_the_larger_network_is_the_papers_with_norms():
    """By the sum of test_segmentation_unet, of 3 channels and 11 classes; a norm has two vectors for a bias."""
    config = with_presets(experiment.Config(size="reference"), {"reference": experiment.REFERENCE})
    spec = experiment.network(config).spec
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(spec) if not leaf.is_state)
    units = 2 * (64 + 128 + 256 + 512 + 1024) + 2 * (64 + 128 + 256 + 512)
    assert count == 31_030_658 + 2 * 9 * 64 + 9 * 65 + units
