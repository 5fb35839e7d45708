"""What every random augmentation promises."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.data import augment
from tests.forms import float64
from tests.oracles import normal

KEY = jax.random.key(8)
FUNCTIONS = {
    "random_flip": augment.random_flip,
    "random_rotation": partial(augment.random_rotation, degrees=40.0),
    "random_scale": augment.random_scale,
    "random_translation": partial(augment.random_translation, pixels=3),
    "random_affine": partial(augment.random_affine, degrees=20.0, factor=(0.9, 1.1), pixels=2.0),
    "random_crop": partial(augment.random_crop, padding=3),
    "brightness": partial(augment.brightness, factor=(0.5, 1.5)),
    "contrast": partial(augment.contrast, factor=(0.5, 1.5)),
    "saturation": partial(augment.saturation, factor=(0.5, 1.5)),
    "gaussian_noise": partial(augment.gaussian_noise, deviation=0.1),
    "gaussian_blur": augment.gaussian_blur,
    "elastic": partial(augment.elastic, alpha=10.0, sigma=2.0),
    "cutout": partial(augment.cutout, size=4),
}
KEYS = [KEY, jax.random.key(9)]


def same_images(dtype=jnp.float32, batch=6):
    """One image several times, so that results differ where draws do."""
    return jnp.broadcast_to(jnp.asarray(normal(1, 9, 9, 3), dtype), (batch, 9, 9, 3))


@functools.cache
def results(name):
    """The results of both keys, the first one twice: in float32, in bfloat16, and of fewer images in float64."""
    function = FUNCTIONS[name]
    with float64():
        forms = jax.jit(lambda key: (function(same_images(), key=key), function(same_images(jnp.bfloat16), key=key)))
        singles, halves = zip(*(forms(key) for key in [*KEYS, KEY]), strict=True)
        assert forms._cache_size() == 1
        few = same_images(jnp.float64, batch=2)
        doubles = jax.jit(jax.vmap(lambda key: function(few, key=key)))(jnp.stack(KEYS))
    return singles, halves, doubles


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_key_same_result_and_every_image_draws_for_itself(name):
    first, other, again = map(np.asarray, results(name)[0])
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({image.tobytes() for image in first}) >= (2 if name == "random_flip" else 4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_draws_depend_on_the_place_but_not_on_batch_size_dtype_or_vmap(name):
    singles, halves, doubles = results(name)
    assert (halves[0].dtype, doubles.dtype) == (jnp.bfloat16, jnp.float64)
    for i in (0, 1):
        np.testing.assert_allclose(halves[i].astype(jnp.float32), singles[i], atol=0.05)
        np.testing.assert_allclose(doubles[i], singles[i][:2], atol=2e-5)


@pytest.mark.parametrize("name", ["random_crop", "elastic"])
def test_devices_that_share_a_batch_need_nothing_from_each_other(name):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    images = jax.device_put(same_images(), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
    compiled = jax.jit(FUNCTIONS[name]).lower(images, key=KEY).compile()
    np.testing.assert_allclose(compiled(images, key=KEY), results(name)[0][0], atol=1e-5)
    text = compiled.as_text()
    assert not any(f"{collective}(" in text for collective in ("all-gather", "all-reduce", "all-to-all"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_say_what_to_write(name):
    function = FUNCTIONS[name]
    with pytest.raises(ValueError, match=rf"{name}: an augmentation needs a random key"):
        function(same_images(), key=None)
    with pytest.raises(TypeError, match=rf"{name}: x must be floating point, got uint8; write x.astype"):
        function(jnp.ones((1, 8, 8, 3), jnp.uint8), key=KEY)
    with pytest.raises(
        ValueError, match=rf"{name}: images must be \[batch, height, width, channels\], got \[8, 8, 3\]"
    ):
        function(jnp.ones((8, 8, 3)), key=KEY)
