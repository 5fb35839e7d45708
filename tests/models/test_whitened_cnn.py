"""The network against the same one in PyTorch, and the whitening against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from jaxnets import models, nn
from tests.forms import float64

WIDTHS = (8, 12, 12)
IMAGES = np.random.default_rng(0).normal(size=(4, 20, 20, 3)).cumsum(axis=1)


@pytest.fixture(autouse=True)
def double_precision():
    with float64():
        yield


def in_pytorch(params, x):
    """Weights as [out, in, height, width]; batch norm with the statistics of the batch."""

    def conv(layer, x, padding=0):
        return torch.nn.functional.conv2d(x, layer["kernel"].permute(3, 2, 0, 1), layer.get("bias"), padding=padding)

    def norm(layer, x):
        return torch.nn.functional.batch_norm(x, None, None, None, layer["bias"], training=True, eps=1e-12)

    gelu = torch.nn.functional.gelu
    x = gelu(conv(params["whitening"], x))
    for stage in params["stages"]:
        x = torch.nn.functional.max_pool2d(conv(stage["conv1"], x, padding=1), 2)
        x = gelu(norm(stage["norm1"], x))
        x = gelu(norm(stage["norm2"], conv(stage["conv2"], x, padding=1)))
    return x.amax(dim=(2, 3)) @ params["fc"]["kernel"] / 9


@pytest.mark.slow
def test_logits_and_gradients_are_pytorch_s():
    model = models.whitened_cnn(models.WhitenedCNNConfig(5, widths=WIDTHS))
    params, state = model.init(jax.random.key(0))
    generator = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf) + 0.1 * generator.normal(size=leaf.shape)), params)
    theirs = jax.tree.map(lambda leaf: torch.tensor(np.array(leaf), requires_grad=True), params)
    expected = in_pytorch(theirs, torch.tensor(IMAGES).permute(0, 3, 1, 2))
    direction = generator.normal(size=(4, 5))
    (expected * torch.tensor(direction)).sum().backward()

    def scalar(params):
        logits, _ = model.apply(params, state, IMAGES, train=True)
        return jnp.vdot(logits, direction), logits

    gradient, logits = jax.jit(jax.grad(scalar, has_aux=True))(params)
    np.testing.assert_allclose(logits, expected.detach(), rtol=1e-9, atol=1e-9)
    for actual, array in zip(jax.tree.leaves(gradient), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(actual, array.grad, rtol=1e-6, atol=1e-9)


def test_whitened_patches_are_those_of_principal_components():
    """Of patches with mean zero, up to signs and order."""
    kernel = np.asarray(models.whitening_kernel(IMAGES, epsilon=0.0))
    patches = np.lib.stride_tricks.sliding_window_view(IMAGES, (2, 2), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    patches = patches.reshape(-1, 12)
    centered = np.concatenate([patches, -patches])  # the same second moments, mean zero
    components = PCA(whiten=True).fit(centered)
    ours = patches @ kernel.reshape(12, 24)[:, 11::-1]  # eigh's order is ascending
    expected = patches @ components.components_.T / np.sqrt(components.explained_variance_)
    np.testing.assert_allclose(np.abs(ours), np.abs(expected), rtol=1e-2, atol=1e-3)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_the_first_channels_of_a_stage_start_as_its_input():
    params, _ = models.whitened_cnn(models.WhitenedCNNConfig(5, widths=(30, 30, 30))).init(jax.random.key(0))
    x = np.random.default_rng(2).normal(size=(1, 6, 6, 24))
    y = nn.conv(params["stages"][0]["conv1"], x, padding=1)
    np.testing.assert_allclose(y[..., :24], x, rtol=1e-6)
    assert not np.allclose(y[..., 24:], 0)
