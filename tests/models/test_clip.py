"""CLIP's rules of its own: the end of text, padding, small images, errors; values are in test_hugging_face_clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import models
from tests.oracles import normal

SMALL = {
    f"{kind}_{name}": size
    for kind in ("image", "text")
    for name, size in {"layers": 1, "heads": 2, "features": 8}.items()
}
CONFIG = models.CLIPConfig((8, 12), 2, stem=(4,), vocabulary=9, context=6, end_of_text=4, embedding=5, **SMALL)


@pytest.fixture(scope="module")
def params():
    """Made by numpy, which compiles nothing."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: models.clip(CONFIG).init(jax.random.key(0))[0])
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape) * 0.4, leaf.dtype), shapes)


@jax.jit
def texts(params, ids):
    return models.clip_texts(CONFIG, params, ids)


@jax.jit
def images(params, x):
    return models.clip_images(CONFIG, params, x)


def test_what_follows_the_end_changes_nothing_and_what_precedes_it_does(params):
    ids = jnp.array([[1, 2, 4], [1, 2, 4], [3, 2, 4]])
    padded = jnp.array([[1, 2, 4, 0, 0], [1, 2, 4, 8, 4], [3, 2, 4, 4, 1]])
    short, long = (texts(params, x) for x in (ids, padded))
    np.testing.assert_allclose(short, long, atol=1e-6)
    assert float(jnp.max(jnp.abs(short[0] - short[2]))) > 1e-3


def test_a_text_without_its_end_has_a_vector_of_nan_and_no_gradient(params):
    ids = jnp.array([[1, 2, 3], [1, 2, 4]])
    vectors = texts(params, ids)
    np.testing.assert_array_equal(np.isnan(vectors).all(axis=1), [True, False])
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(texts(p, ids)[1])))(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))


def test_vectors_have_length_one_and_read_every_pixel(params):
    pixels = jnp.asarray(normal(2, 8, 12, 3))
    vectors = images(params, pixels)
    np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    slopes = jax.jit(jax.grad(lambda x: images(params, x)[0, 0]))(pixels)
    assert bool((jnp.abs(slopes[0]) > 0).all())
    np.testing.assert_array_equal(slopes[1], 0)


def test_what_does_not_fit_is_an_error(params):
    with pytest.raises(ValueError, match=r"clip: images must be \[batch, 8, 12, 3\], got \[2, 12, 8, 3\]"):
        models.clip_images(CONFIG, params, jnp.ones((2, 12, 8, 3)))
    with pytest.raises(TypeError, match="images must be floating point, got uint8"):
        models.clip_images(CONFIG, params, jnp.ones((2, 8, 12, 3), jnp.uint8))
    with pytest.raises(ValueError, match="clip: 7 tokens are more than the context of 6"):
        models.clip_texts(CONFIG, params, jnp.ones((2, 7), jnp.int32))
    with pytest.raises(ValueError, match=r"clip: ids must be \[batch, time\], got \[3\]"):
        models.clip_texts(CONFIG, params, jnp.ones(3, jnp.int32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": (8, 8, 8)}, "image_size must be height and width"),
        ({"image_size": (8, 6), "patch_size": 4}, r"patch_size 4, .*, must divide image_size \(8, 6\)"),
        ({"image_size": (8, 8), "patch_size": 4, "stem": (3, 3)}, r"patch_size 4, .*, must divide image_size \(8, 8\)"),
        ({"text_heads": 3}, "text_heads must divide text_features, got 3 heads and 512 features"),
        ({"end_of_text": 49_408}, "end_of_text must be below the vocabulary of 49408, got 49408"),
    ],
)
def test_settings_that_do_not_fit_are_an_error(settings, message):
    with pytest.raises(ValueError, match=f"CLIPConfig: {message}"):
        models.CLIPConfig(**settings)
