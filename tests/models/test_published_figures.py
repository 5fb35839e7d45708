"""Parameters and FLOPs of the networks are the published ones.

Parameters: torchvision's documentation of each network, and the papers. FLOPs, there counted as multiplications:
torchvision's `GFLOPS` of its weights, to the digits it gives; the two ResNets for CIFAR-10 by the rule 6 n + 2.
"""

import jax
import jax.numpy as jnp
import pytest

from jaxnets import count_flops, count_parameters, models

LARGE = {"layers": 24, "heads": 16, "features": 1024}
NETWORKS = {
    "vgg11": (models.vgg_spec(11), models.vgg(11), 132_863_336, 7.61),
    "vgg13": (models.vgg_spec(13), models.vgg(13), 133_047_848, 11.31),
    "vgg16": (models.vgg_spec(16), models.vgg(16), 138_357_544, 15.47),
    "vgg19": (models.vgg_spec(19), models.vgg(19), 143_667_240, 19.63),
    "vgg11_bn": (models.vgg_spec(11, norm=True), models.vgg(11, norm=True), 132_868_840, 7.61),
    "vgg16_bn": (models.vgg_spec(16, norm=True), models.vgg(16, norm=True), 138_365_992, 15.47),
    "resnet18": (models.resnet_spec(18), models.resnet(18), 11_689_512, 1.81),
    "resnet34": (models.resnet_spec(34), models.resnet(34), 21_797_672, 3.66),
    "resnet50": (models.resnet_spec(50), models.resnet(50), 25_557_032, 4.09),
    "resnet101": (models.resnet_spec(101), models.resnet(101), 44_549_160, 7.80),
    "resnet152": (models.resnet_spec(152), models.resnet(152), 60_192_808, 11.51),
    "googlenet": (models.googlenet_spec(auxiliary=False), models.googlenet(auxiliary=False), 6_624_904, 1.50),
    "efficientnet_b0": (models.efficientnet_spec(0), models.efficientnet(0), 5_288_548, 0.39),
    "efficientnet_b1": (models.efficientnet_spec(1), models.efficientnet(1), 7_794_184, 0.69),
    "efficientnet_b2": (models.efficientnet_spec(2), models.efficientnet(2), 9_109_994, 1.09),
    "efficientnet_b3": (models.efficientnet_spec(3), models.efficientnet(3), 12_233_232, 1.83),
    "efficientnet_b4": (models.efficientnet_spec(4), models.efficientnet(4), 19_341_616, 4.39),
    "efficientnet_b5": (models.efficientnet_spec(5), models.efficientnet(5), 30_389_784, 10.27),
    "efficientnet_b6": (models.efficientnet_spec(6), models.efficientnet(6), 43_040_704, 19.07),
    "efficientnet_b7": (models.efficientnet_spec(7), models.efficientnet(7), 66_347_960, 37.75),
    "vit_b_16": (models.vit_spec(), models.vit(), 86_567_656, 17.56),
    "vit_b_32": (models.vit_spec(224, 32), models.vit(224, 32), 88_224_232, 4.41),
    "vit_l_16": (models.vit_spec(**LARGE), models.vit(**LARGE), 304_326_632, 61.55),
}
# The size of the images that torchvision's figure is for; of B1 its newer weights' 240.
SIZES = {f"efficientnet_b{i}": size for i, size in enumerate((224, 240, 288, 300, 380, 456, 528, 600))}


SLOW = set(NETWORKS) - {"vgg11", "resnet18", "resnet50", "googlenet", "efficientnet_b0", "vit_b_16"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]
)
def test_parameters_and_multiplications(name):
    spec, model, parameters, giga = NETWORKS[name]
    assert count_parameters(spec) == parameters
    size = SIZES.get(name, 224)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    flops = count_flops(lambda p, s, x: model.apply(p, s, x, train=False)[0], params, state, x)
    assert flops / 2e9 == pytest.approx(giga, rel=0.015)


@pytest.mark.parametrize(
    ("layers", "heads", "features", "parameters"),
    [
        (12, 12, 768, 124_439_808),
        (24, 16, 1024, 354_823_168),
        (36, 20, 1280, 774_030_080),
        (48, 25, 1600, 1_557_611_200),
    ],
)
def test_parameters_of_gpt2(layers, heads, features, parameters):
    """Those of Hugging Face's four networks."""
    assert count_parameters(models.gpt_spec(layers=layers, heads=heads, features=features)) == parameters


def test_an_unknown_size_is_an_error():
    with pytest.raises(ValueError, match="vgg: depth must be one of 11, 13, 16, 19; got 12"):
        models.vgg(12)
    with pytest.raises(ValueError, match="resnet: depth must be one of 18, 34, 50, 101, 152; got 20"):
        models.resnet(20)
    with pytest.raises(ValueError, match=r"cifar_resnet: depth must be 6 n \+ 2, .*; got 21"):
        models.cifar_resnet(21)
    with pytest.raises(ValueError, match="efficientnet: variant must be 0 to 7, for B0 to B7; got 8"):
        models.efficientnet(8)
    with pytest.raises(ValueError, match="mlp: sizes must hold those of the input and of the result"):
        models.mlp([3])
