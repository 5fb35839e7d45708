"""Cases of the networks in `jaxnets.models`, as small as they can be made."""

import jax
import numpy as np

from jaxnets import models
from tests.cases.case import Case
from tests.oracles import normal


def network(name, spec, model, inputs, **settings):
    """The case of a model in training, its key passed on."""

    def apply(params, state, inputs, key):
        return model.apply(params, state, inputs, key=key, train=settings.get("train", True))

    properties = {key: value for key, value in settings.items() if key != "train"}
    return Case(name, (), spec, apply, inputs, **properties)


def characters(params, state, inputs, key):
    """As in mixed precision, the parameters come in the dtype in which to compute."""
    cast = jax.tree.map(lambda p: p.astype(inputs["dtype"].dtype), params)
    return models.char_rnn(5, cell="gru", hidden=4, layers=2).apply(cast, state, inputs["ids"], train=True)


def tokens(params, state, inputs, key):
    """Likewise."""
    cast = jax.tree.map(lambda p: p.astype(inputs["dtype"].dtype), params)
    model = models.gpt(5, 4, layers=2, heads=2, features=4, rate=0.2)
    return model.apply(cast, state, inputs["ids"], key=key, train=True)


def small_image(size=32):
    return normal(2, size, size, 3)


VGG = {"pooled": 1, "hidden": (5,), "width": 1 / 32}
GOOGLENET = {"small_images": True, "width": 1 / 16}
SMALL = {"widths": (4, 4, 4)}
VIT = {"layers": 2, "heads": 2, "features": 4}
CASES = [
    network("lenet5", models.lenet5_spec(), models.lenet5(), normal(2, 28, 28, 1)),
    network(
        "mnist-cnn",
        models.mnist_cnn_spec(12, 12),
        models.mnist_cnn(12, 12),
        normal(2, 12, 12, 1),
        random=True,
        slow=True,
    ),
    network(
        "vgg11",
        models.vgg_spec(11, 3, **VGG),
        models.vgg(11, 3, **VGG),
        small_image(),
        random=True,
        noise=0.25,
        slow=True,
    ),
    network(
        "vgg11-bn",
        models.vgg_spec(11, 3, norm=True, **VGG),
        models.vgg(11, 3, norm=True, rate=0.0, **VGG),
        small_image(),
        train=False,
        slow=True,
    ),
    network(
        "resnet18",
        models.resnet_spec(18, 3, width=2),
        models.resnet(18, 3, width=2),
        small_image(),
        train=False,
        slow=True,
    ),
    network(
        "resnet50",
        models.resnet_spec(50, 3, width=2),
        models.resnet(50, 3, width=2),
        small_image(),
        train=False,
        slow=True,
    ),
    network(
        "cifar-resnet14",
        models.cifar_resnet_spec(14, 3, width=2),
        models.cifar_resnet(14, 3, width=2),
        small_image(8),
        slow=True,
    ),
    network(
        "googlenet",
        models.googlenet_spec(3, **GOOGLENET),
        models.googlenet(3, **GOOGLENET),
        small_image(16),
        random=True,
        slow=True,
        step=1e-8,
        tolerance=1e-4,
    ),
    Case(
        "char-rnn",
        (),
        models.char_rnn_spec(5, cell="gru", hidden=4, layers=2),
        characters,
        {"ids": np.array([[0, 1, 4], [3, 2, 2]]), "dtype": normal(1)},
    ),
    Case(
        "gpt",
        (),
        models.gpt_spec(5, 4, layers=2, heads=2, features=4),
        tokens,
        {"ids": np.array([[0, 1, 4], [3, 2, 2]]), "dtype": normal(1)},
        random=True,
        slow=True,
    ),
    network(
        "vit",
        models.vit_spec(8, 4, 3, **VIT),
        models.vit(8, 4, 3, rate=0.2, **VIT),
        normal(2, 8, 8, 3),
        random=True,
        slow=True,
    ),
    network(
        "whitened-cnn",
        models.whitened_cnn_spec(3, **SMALL),
        models.whitened_cnn(3, **SMALL),
        small_image(17),
        bf16_tolerance=0.1,
        slow=True,
    ),
    network("mlp", models.mlp_spec([3, 5, 5, 2], norm=True), models.mlp([3, 5, 5, 2], norm=True), normal(6, 3)),
    network(
        "mlp-residual",
        models.mlp_spec([3, 5, 5, 2]),
        models.mlp([3, 5, 5, 2], rate=0.3, residual=True, activation=jax.nn.tanh),
        normal(6, 3),
        random=True,
        slow=True,
    ),
]
