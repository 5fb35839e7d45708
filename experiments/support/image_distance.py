"""How far generated digits are from real ones: a published LeNet, its features, and their Fréchet distance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import metrics, models, nn, weights
from jaxnets.data.files import locate, plain_file, read_verified
from jaxnets.metrics.frechet import FrechetDistance, Moments
from jaxnets.types import Array, Params

FEATURES = 84
"""What the last layer but one returns, after tanh."""
_CONFIG = models.LeNet5Config(activation="tanh", pool="max")
LENET = models.lenet5(_CONFIG)
FILE = plain_file(
    "weights/lenet.pth",
    "https://raw.githubusercontent.com/abdulfatir/gan-metrics-pytorch/c56c62bffd747943898ceb6f52a09c62407244c3/"
    "models/lenet.pth",
    size=248_652,
    sha256="e4bed3817dd7723c605580e7b7393538a5dfc3508aacc4890b07e7f07c16bebf",
)
"""A LeNet-5 that knows MNIST, made to measure generators with (gan-metrics-pytorch, 2018; Apache License 2.0)."""
_NAMES = {
    "convnet.c1": weights.Place("conv1"),
    "convnet.c3": weights.Place("conv2"),
    "convnet.c5": weights.Place("fc1", flattened=_CONFIG.pooled),
    "fc.f6": weights.Place("fc2"),
    "fc.f7": weights.Place("fc3"),
}


def load_lenet() -> Params:
    """Read the published parameters, verified by their SHA-256; they are downloaded if they are missing."""
    (path,) = locate([FILE])
    read_verified(path, FILE)
    arrays = weights.read_torch(path)
    arrays["convnet.c5.weight"] = arrays["convnet.c5.weight"].reshape(120, -1)  # a convolution of all that there is
    return weights.from_torch(arrays, LENET, _NAMES)[0]


def random_lenet() -> Params:
    """Parameters for `--smoke`, which needs no files."""
    params: Params = LENET.init(jax.random.key(0))[0]
    return params


def features_of(lenet: Params, images: Array) -> Array:
    """The features `[images, FEATURES]` of digits `[images, 28, 28, 1]` in [0, 1], the last layer left out."""
    identity = {"kernel": jnp.eye(FEATURES), "bias": jnp.zeros(FEATURES)}
    features: Array = LENET.apply({**lenet, "fc3": identity}, {}, images, train=False)[0]
    return features


def digits_of(lenet: Params, features: Array) -> Array:
    """Which digits LeNet sees, `[images]`, given the features."""
    return jnp.argmax(nn.linear(lenet["fc3"], features), axis=-1)


def moments_of(lenet: Params, images: Any, *, batch_size: int = 1000) -> Moments:
    """Mean and covariance of the features of many images, some at a time."""
    compiled = jax.jit(features_of)
    parts = [compiled(lenet, images[first : first + batch_size]) for first in range(0, len(images), batch_size)]
    return metrics.moments(np.concatenate(parts))


def distance(first: Moments, second: Moments) -> float:
    """The Fréchet distance of two sets of features."""
    return float(FrechetDistance(first, second).compute())
