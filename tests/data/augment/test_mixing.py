"""Mixup and CutMix: weights, shares of pixels, and their distributions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxnets.data import augment
from tests.oracles import normal

KEY = jax.random.key(6)
MANY = 1000
mixup, cutmix = jax.jit(partial(augment.mixup, alpha=0.4)), jax.jit(augment.cutmix)


def numbered(height, width):
    """Images of which each has its own number in every pixel, and labels of as many classes."""
    images = jnp.broadcast_to(jnp.arange(MANY, dtype=jnp.float32)[:, None, None, None], (MANY, height, width, 1))
    return images, jnp.eye(MANY)


def partners_and_weights(labels):
    """Each image's partner and its own weight, read from its label; images that are their own partner are left out."""
    labels = np.asarray(labels)
    own = np.diag(labels)
    others = labels - np.diag(own)
    mixed = others.sum(axis=1) > 0
    return others.argmax(axis=1)[mixed], own[mixed], mixed


def test_mix_is_the_weighted_mean():
    images, labels = normal(3, 2, 2, 1), np.eye(3, dtype=np.float32)
    partners, weights = np.array([1, 2, 0]), np.array([0.0, 0.25, 1.0], np.float32)
    mixed = augment.mix(images, labels, partners, weights)
    w = weights[:, None, None, None]
    np.testing.assert_allclose(mixed.images, w * images + (1 - w) * images[partners], rtol=1e-6)
    np.testing.assert_allclose(mixed.labels, [[0, 1, 0], [0, 0.25, 0.75], [0, 0, 1]], rtol=1e-6)


def test_mixup_draws_weights_from_beta_and_every_image_is_a_partner_once():
    images, labels = numbered(8, 16)
    mixed = mixup(images, labels, key=KEY)
    partners, weights, _ = partners_and_weights(mixed.labels)
    assert len(set(partners)) == len(partners) > 0.99 * MANY
    assert scipy.stats.kstest(weights, "beta", args=(0.4, 0.4)).pvalue > 0.01
    np.testing.assert_allclose(mixed.images[:, 3, 4, 0], mixed.labels @ jnp.arange(MANY, dtype=jnp.float32), rtol=1e-4)


def test_pasted_box_and_label_weights():
    images, labels = normal(2, 4, 5, 2), np.eye(2, dtype=np.float32)
    mixed = augment.paste(images, labels, np.array([1, 0]), np.array([[1, 1, 3, 9], [-2, 0, 1, 5]]))
    expected = images.copy()
    expected[0, 1:3, 1:] = images[1, 1:3, 1:]
    expected[1, :1] = images[0, :1]
    np.testing.assert_array_equal(mixed.images, expected)
    np.testing.assert_allclose(mixed.labels, [[0.6, 0.4], [0.25, 0.75]], rtol=1e-6)


@pytest.fixture(scope="module")
def cut_and_mixed():
    """The numbered images with boxes of others in them."""
    return jax.tree.map(np.asarray, cutmix(*numbered(8, 16), key=KEY))


def test_cutmix_labels_are_the_shares_of_the_pixels(cut_and_mixed):
    partners, weights, chosen = partners_and_weights(cut_and_mixed.labels)
    pixels = cut_and_mixed.images[chosen].reshape(len(weights), -1)
    own = np.flatnonzero(chosen)[:, None]
    np.testing.assert_array_equal((pixels == own).mean(axis=1), weights)  # 128 pixels: the shares are exact
    assert np.all((pixels == own) | (pixels == partners[:, None]))


def test_cutmix_boxes_have_the_distribution_of_the_paper(cut_and_mixed):
    _, weights, _ = partners_and_weights(cut_and_mixed.labels)
    generator = np.random.default_rng(0)
    shares = []
    for share in generator.beta(1, 1, 20_000):
        inside = 1.0
        for size in (8, 16):
            half, center = int(size * np.sqrt(1 - share)) // 2, generator.integers(size)
            inside *= (np.clip(center + half, 0, size) - np.clip(center - half, 0, size)) / size
        shares.append(1 - inside)
    shares = np.array(shares)
    assert scipy.stats.ks_2samp(weights, shares[shares < 1]).pvalue > 0.01


def test_rows_and_columns_of_a_box_are_drawn_separately(cut_and_mixed):
    images = cut_and_mixed.images[..., 0]
    other = images != np.arange(MANY)[:, None, None]
    other = other[other.any(axis=(1, 2))]
    rows = [np.flatnonzero(mask.any(axis=1)).mean() for mask in other]
    columns = [np.flatnonzero(mask.any(axis=0)).mean() for mask in other]
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.15


@pytest.mark.parametrize("compiled", [mixup, cutmix])
def test_the_same_key_gives_the_same_batch(compiled):
    first, again, other = (compiled(*numbered(8, 16), key=key).labels for key in (KEY, KEY, jax.random.key(7)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert compiled._cache_size() == 1


def test_dtypes_stay():
    images, labels = jnp.asarray(normal(4, 6, 6, 3), jnp.bfloat16), jnp.eye(4)
    for mixed in (
        augment.mix(images, labels, jnp.arange(4)[::-1], 0.5),
        augment.paste(images, labels, jnp.arange(4)[::-1], (0, 0, 3, 3)),
    ):
        assert (mixed.images.dtype, mixed.labels.dtype) == (jnp.bfloat16, jnp.float32)


@pytest.mark.parametrize("function", [augment.mixup, augment.cutmix])
def test_errors(function):
    images = jnp.ones((4, 6, 6, 3))
    with pytest.raises(TypeError, match=r"labels must be probabilities.*got int32; write jax.nn.one_hot"):
        function(images, jnp.arange(4), key=KEY)
    with pytest.raises(ValueError, match=r"labels must be \[4, classes\].*got \[3, 10\]"):
        function(images, jnp.ones((3, 10)), key=KEY)
    with pytest.raises(ValueError, match=r"alpha must be positive, got 0"):
        function(images, jnp.ones((4, 10)), key=KEY, alpha=0.0)
    with pytest.raises(ValueError, match=r"needs a random key"):
        function(images, jnp.ones((4, 10)), key=None)
