"""Parameters and FLOPs of the networks are the published ones.

Parameters: torchvision's documentation of each network, timm's of the smaller ViTs, and the papers. FLOPs, there
counted as multiplications: torchvision's `GFLOPS` of its weights, to the digits it gives; the two ResNets for CIFAR-10
by the rule 6 n + 2.
"""

import jax
import jax.numpy as jnp
import pytest

from jaxnets import count_flops, count_parameters
from jaxnets.models import (
    CifarResNetConfig,
    GoogLeNetConfig,
    GPTConfig,
    MLPConfig,
    ResNetConfig,
    VGGConfig,
    ViTConfig,
    efficientnet,
    efficientnet_config,
    googlenet,
    gpt,
    resnet,
    vgg,
    vit,
)

LARGE = {"layers": 24, "heads": 16, "features": 1024}
NETWORKS = {
    "vgg11": (vgg(VGGConfig(11)), 132_863_336, 7.61),
    "vgg13": (vgg(VGGConfig(13)), 133_047_848, 11.31),
    "vgg16": (vgg(VGGConfig(16)), 138_357_544, 15.47),
    "vgg19": (vgg(VGGConfig(19)), 143_667_240, 19.63),
    "vgg11_bn": (vgg(VGGConfig(11, norm=True)), 132_868_840, 7.61),
    "vgg16_bn": (vgg(VGGConfig(16, norm=True)), 138_365_992, 15.47),
    "resnet18": (resnet(ResNetConfig(18)), 11_689_512, 1.81),
    "resnet34": (resnet(ResNetConfig(34)), 21_797_672, 3.66),
    "resnet50": (resnet(ResNetConfig(50)), 25_557_032, 4.09),
    "resnet101": (resnet(ResNetConfig(101)), 44_549_160, 7.80),
    "resnet152": (resnet(ResNetConfig(152)), 60_192_808, 11.51),
    "googlenet": (googlenet(GoogLeNetConfig(auxiliary=False)), 6_624_904, 1.50),
    "efficientnet_b0": (efficientnet(), 5_288_548, 0.39),
    "efficientnet_b1": (efficientnet(efficientnet_config(1)), 7_794_184, 0.69),
    "efficientnet_b2": (efficientnet(efficientnet_config(2)), 9_109_994, 1.09),
    "efficientnet_b3": (efficientnet(efficientnet_config(3)), 12_233_232, 1.83),
    "efficientnet_b4": (efficientnet(efficientnet_config(4)), 19_341_616, 4.39),
    "efficientnet_b5": (efficientnet(efficientnet_config(5)), 30_389_784, 10.27),
    "efficientnet_b6": (efficientnet(efficientnet_config(6)), 43_040_704, 19.07),
    "efficientnet_b7": (efficientnet(efficientnet_config(7)), 66_347_960, 37.75),
    "vit_b_16": (vit(), 86_567_656, 17.56),
    "vit_b_32": (vit(ViTConfig(patch_size=32)), 88_224_232, 4.41),
    "vit_l_16": (vit(ViTConfig(**LARGE)), 304_326_632, 61.55),
}
# The size of the images that torchvision's figure is for; of B1 its newer weights' 240.
SIZES = {f"efficientnet_b{i}": size for i, size in enumerate((224, 240, 288, 300, 380, 456, 528, 600))}


SLOW = set(NETWORKS) - {"vgg11", "resnet18", "resnet50", "googlenet", "efficientnet_b0", "vit_b_16"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETWORKS]
)
def test_parameters_and_multiplications(name):
    model, parameters, giga = NETWORKS[name]
    assert count_parameters(model.spec) == parameters
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
    model = gpt(GPTConfig(layers=layers, heads=heads, features=features))
    assert count_parameters(model.spec) == parameters


@pytest.mark.parametrize(("heads", "features", "parameters"), [(3, 192, 5_717_416), (6, 384, 22_050_664)])
def test_parameters_of_smaller_vits(heads, features, parameters):
    assert count_parameters(vit(ViTConfig(heads=heads, features=features)).spec) == parameters


def test_an_unknown_size_is_an_error():
    with pytest.raises(ValueError, match="VGGConfig: depth must be one of 11, 13, 16, 19, got 12"):
        VGGConfig(12)
    with pytest.raises(ValueError, match="ResNetConfig: depth must be one of 18, 34, 50, 101, 152, got 20"):
        ResNetConfig(20)
    with pytest.raises(ValueError, match=r"CifarResNetConfig: depth must be 6 n \+ 2, .*, got 21"):
        CifarResNetConfig(21)
    with pytest.raises(ValueError, match="variant must be 0 to 7, for B0 to B7; got 8"):
        efficientnet_config(8)
    with pytest.raises(ValueError, match="MLPConfig: sizes must hold those of the input and of the result"):
        MLPConfig([3])
