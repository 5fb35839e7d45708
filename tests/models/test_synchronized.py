"""Every network with batch norm, divided over devices by pmap, computes what one device computes."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxnets import models
from jaxnets.training import synchronized
from tests.forms import needs_devices
from tests.oracles import normal

NETWORKS = {
    "mlp": (lambda: models.mlp(models.MLPConfig((12, 8, 3), norm=True)), (12,)),
    "small_cnn": (lambda: models.small_cnn(models.SmallCNNConfig(channel_dropout_rate=0, dropout_rate=0)), (8, 8, 1)),
    "cifar_resnet": (lambda: models.cifar_resnet(models.CifarResNetConfig(depth=8)), (8, 8, 3)),
    "resnet": (lambda: models.resnet(models.ResNetConfig(depth=18, classes=3)), (32, 32, 3)),
    "googlenet": (
        lambda: models.googlenet(
            models.GoogLeNetConfig(classes=3, small_images=True, width=0.125, auxiliary=False, dropout_rate=0)
        ),
        (32, 32, 3),
    ),
    "vgg": (
        lambda: models.vgg(models.VGGConfig(depth=11, classes=3, norm=True, pooled=1, hidden=(), width=0.125)),
        (32, 32, 3),
    ),
    "efficientnet_lite": (
        lambda: models.efficientnet_lite(
            models.EfficientNetLiteConfig(classes=3, width=0.25, depth=0.5, dropout_rate=0, drop_path_rate=0)
        ),
        (32, 32, 3),
    ),
    "whitened_cnn": (lambda: models.whitened_cnn(models.WhitenedCNNConfig(widths=(8, 8, 8))), (32, 32, 3)),
    "segmentation_unet": (
        lambda: models.segmentation_unet(models.SegmentationUNetConfig(3, width=4, levels=2, norm=True)),
        (16, 16, 3),
    ),
    "dcgan_generator": (lambda: models.dcgan_generator(models.DCGANGeneratorConfig(32, noise=8, width=4)), (8,)),
    "dcgan_discriminator": (
        lambda: models.dcgan_discriminator(models.DCGANDiscriminatorConfig(32, width=4)),
        (32, 32, 3),
    ),
    "patch_tst": (
        lambda: models.patch_tst(
            models.PatchTSTConfig(history=32, horizon=4, features=8, heads=2, hidden=16, layers=1, dropout_rate=0)
        ),
        (32, 3),
    ),
}


@needs_devices(2)
@pytest.mark.parametrize("name", NETWORKS)
def test_batch_statistics_are_those_of_the_whole_batch(name):
    make, shape = NETWORKS[name]
    model = make()
    params, state = model.init(jax.random.key(0))
    x = normal(8, *shape) + jnp.arange(8.0).reshape(8, *(1 for _ in shape))  # two parts of other statistics
    run = functools.partial(synchronized(model, "data").apply, train=True)
    parts = x.reshape(2, 4, *shape)
    mapped = jax.pmap(run, "data", in_axes=(None, None, 0), devices=jax.devices()[:2])(params, state, parts)
    outputs, after = jax.device_get(mapped)
    expected, expected_state = jax.device_get(jax.jit(functools.partial(model.apply, train=True))(params, state, x))
    chex.assert_trees_all_close(outputs.reshape(expected.shape), expected, rtol=1e-3, atol=1e-4)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[1], after), expected_state, rtol=1e-3, atol=1e-5)
