"""Chains, and augmentation inside training."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, nn, subkey
from jaxnets.data import augment
from jaxnets.training import fit, init_train_state, make_evaluate, make_step, supervised
from tests.oracles import assert_close, normal

KEY = jax.random.key(0)
IMAGES = normal(4, 6, 6, 1)
noise = partial(augment.gaussian_noise, deviation=1.0)


def test_chain_applies_in_order_with_a_key_for_each_name():
    both = augment.chain(augment.random_flip, noise)
    expected = noise(augment.random_flip(IMAGES, key=subkey(KEY, "random_flip")), key=subkey(KEY, "gaussian_noise"))
    np.testing.assert_array_equal(both(IMAGES, key=KEY), expected)


def test_adding_an_augmentation_leaves_the_draws_of_the_others():
    def noise_in(*augmentations):
        return augment.chain(*augmentations)(jnp.zeros((4, 6, 6, 1)), key=KEY)

    clip = lambda images, *, key: jnp.where(images == 0, 0, images)  # noqa: E731  # a function without a name
    np.testing.assert_array_equal(noise_in(noise), noise_in(augment.random_flip, clip, noise))


def test_the_same_function_twice_draws_twice():
    twice = augment.chain(noise, noise)(jnp.zeros((4, 6, 6, 1)), key=KEY)
    once = augment.chain(noise)(jnp.zeros((4, 6, 6, 1)), key=KEY)
    assert abs(np.corrcoef((twice - once).ravel(), once.ravel())[0, 1]) < 0.3


def test_chains_chain():
    inner = augment.chain(augment.random_flip, noise)
    y = augment.chain(inner, augment.random_flip)(IMAGES, key=KEY)
    expected = augment.random_flip(inner(IMAGES, key=subkey(KEY, "chained")), key=subkey(KEY, "random_flip"))
    np.testing.assert_array_equal(y, expected)


def test_chain_errors():
    with pytest.raises(TypeError, match=r"chain: got Array.* instead of a function"):
        augment.chain(augment.random_flip(IMAGES, key=KEY))
    with pytest.raises(ValueError, match=r"chain needs a random key"):
        augment.chain(noise)(IMAGES, key=None)


def seen_by(loss_key, train, **options):
    """The batch that a loss sees through `augmented`, and its key."""
    seen = []

    def loss(params, state, batch, *, key, train):
        seen.append((batch, key, train))
        return jnp.zeros(()), (state, {})

    labels = jnp.arange(4)
    augment.augmented(loss, **options)({}, {}, (IMAGES, labels), key=loss_key, train=train)
    return seen[0]


def test_training_batches_are_augmented_with_a_key_of_their_own():
    (images, labels), key, train = seen_by(KEY, True, augment=noise)
    np.testing.assert_array_equal(images, noise(IMAGES, key=subkey(KEY, "augment")))
    np.testing.assert_array_equal(labels, jnp.arange(4))
    assert key is KEY
    assert train


def test_mixing_acts_on_images_and_labels_after_the_augmentation():
    def mix(images, labels, *, key):
        return augment.mix(images, jax.nn.one_hot(labels, 4), jax.random.permutation(key, 4), 0.5)

    (images, labels), _, _ = seen_by(KEY, True, augment=noise, mix=mix)
    expected = mix(noise(IMAGES, key=subkey(KEY, "augment")), jnp.arange(4), key=subkey(KEY, "mix"))
    np.testing.assert_array_equal(images, expected.images)
    np.testing.assert_array_equal(labels, expected.labels)


def test_evaluation_sees_its_batches_as_they_are_and_needs_no_key():
    (images, labels), key, train = seen_by(None, False, augment=noise, mix=augment.mixup)
    assert images is IMAGES
    np.testing.assert_array_equal(labels, jnp.arange(4))
    assert key is None
    assert not train


def test_augmented_errors():
    loss = augment.augmented(lambda *_, **__: None, noise)
    with pytest.raises(ValueError, match=r"augmented needs a random key"):
        loss({}, {}, (IMAGES, jnp.arange(4)), key=None, train=True)
    with pytest.raises(
        ValueError, match=r"a batch must be \(images, labels\) or \(images, labels, weights\), got a dict"
    ):
        loss({}, {}, {"images": IMAGES}, key=KEY, train=True)
    mixed = augment.augmented(lambda *_, **__: None, mix=augment.mixup)
    with pytest.raises(ValueError, match="mix= takes no weights"):
        mixed({}, {}, (IMAGES, jnp.arange(4), jnp.ones(4)), key=KEY, train=True)


def test_weights_go_through():
    weights = jnp.array([1, 0, 1, 1])

    def loss(params, state, batch, *, key, train):
        assert batch[2] is weights
        return jnp.zeros(()), (state, {})

    augment.augmented(loss, noise)({}, {}, (IMAGES, jnp.arange(4), weights), key=KEY, train=True)


@pytest.mark.slow
def test_fit_trains_on_augmented_batches_and_evaluates_on_plain_ones():
    def apply(params, state, x, *, key=None, train):
        return nn.linear(params, x.reshape(x.shape[0], -1)), state

    model = make_model(nn.linear_spec(36, 3), apply)
    plain = supervised(model, losses.cross_entropy)
    loss = augment.augmented(plain, augment.chain(augment.random_flip, noise))
    data = normal(16, 6, 6, 1), np.arange(16) % 3
    step = make_step(loss, optax.sgd(0.1))
    start = init_train_state(model, optax.sgd(0.1), seed=1)
    expected = start
    result = fit(
        jax.tree.map(jnp.copy, start),
        step,
        data,
        epochs=1,
        batch_size=8,
        shuffle=False,
        evaluate=make_evaluate(loss),
        validation=data,
    )
    plain_step = jax.jit(make_step(plain, optax.sgd(0.1)))
    for first in (0, 8):
        images, labels = (array[first : first + 8] for array in data)
        key = subkey(subkey(subkey(expected.key, "step"), expected.step), "augment")
        flipped = augment.random_flip(images, key=subkey(key, "random_flip"))
        batch = noise(flipped, key=subkey(key, "gaussian_noise")), jnp.asarray(labels)
        expected, _ = plain_step(expected, batch)
    assert_close(result.train_state.params, expected.params)
    logits = nn.linear(expected.params, data[0].reshape(16, -1))
    mean_loss = optax.softmax_cross_entropy_with_integer_labels(logits, data[1]).mean()
    np.testing.assert_allclose(result.metrics["validation"]["loss"], mean_loss, rtol=1e-5)


def test_label_maps_move_as_their_images():
    """Channels that hold the row and the column of each pixel say where a label was."""
    rows, columns = np.meshgrid(np.arange(6), np.arange(8), indexing="ij")
    image = np.stack([rows, columns], axis=-1).astype(np.float32)
    images = jnp.asarray(np.broadcast_to(image, (16, *image.shape)))
    labels = jnp.asarray(np.broadcast_to(8 * rows + columns, images.shape[:3]))
    move = augment.paired(augment.chain(partial(augment.random_crop, size=(4, 5)), augment.random_flip))
    moved, moved_labels = move(images, labels, key=KEY)
    assert (moved.shape, moved_labels.shape, moved_labels.dtype) == ((16, 4, 5, 2), (16, 4, 5), labels.dtype)
    np.testing.assert_array_equal(8 * moved[..., 0] + moved[..., 1], moved_labels)
    assert len({window.tobytes() for window in np.asarray(moved_labels)}) > 8


def test_label_maps_have_settings_of_their_own():
    """Where images are interpolated, labels are those of the nearest pixel, and the label of void outside."""
    rows = jnp.broadcast_to(jnp.arange(9)[None, :, None], (4, 9, 9))
    turn = partial(augment.random_rotation, degrees=40.0)
    move = augment.paired(turn, partial(turn, method="nearest", fill=255.0))
    moved, labels = move(rows[..., None].astype(jnp.float32), rows, key=KEY)
    inside = np.asarray(labels) != 255
    assert 0 < (~inside).sum() < inside.sum()
    within = (slice(None), slice(2, 7), slice(2, 7))
    assert np.abs(np.asarray(moved[..., 0]) - np.asarray(labels))[within].max() <= 0.75
    assert not np.array_equal(moved[..., 0][within], labels[within])


def test_errors_of_paired():
    move = augment.paired(augment.random_flip)
    images = jnp.ones((2, 4, 4, 3))
    with pytest.raises(TypeError, match="paired: labels must be integers, got float32"):
        move(images, jnp.ones((2, 4, 4)), key=KEY)
    with pytest.raises(ValueError, match=r"paired: labels must be .* \[2, 4, 4\], got \[2, 3, 4\]"):
        move(images, jnp.ones((2, 3, 4), int), key=KEY)
