"""The networks against torchvision's with the same random weights, in float64, where both are exact enough to compare.

Outputs, gradients of all parameters and running statistics agree within 1e-7 of the largest entry of each array: what
is left is the order of sums.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import models, weights
from tests.forms import float64
from tests.torchvision_oracle import import_torchvision

torchvision = import_torchvision("torchvision.models")
TOLERANCE = 1e-7
CLASSES = 10


def vgg(depth, norm, hidden=16):
    """With few hidden units by default, because torchvision's 4,096 are nine tenths of all parameters."""
    suffix = "_bn" if norm else ""
    theirs = getattr(torchvision, f"vgg{depth}{suffix}")(num_classes=CLASSES, dropout=0.0, init_weights=False)
    if hidden != 4096:
        for place, sizes in ((0, (512 * 7 * 7, hidden)), (3, (hidden, hidden)), (6, (hidden, CLASSES))):
            theirs.classifier[place] = torch.nn.Linear(*sizes)
    return theirs, models.vgg(models.VGGConfig(depth, CLASSES, norm=norm, hidden=(hidden, hidden), dropout_rate=0.0))


def resnet(depth):
    theirs = getattr(torchvision, f"resnet{depth}")(num_classes=CLASSES)
    return theirs, models.resnet(models.ResNetConfig(depth, CLASSES))


def googlenet(auxiliary):
    theirs = torchvision.googlenet(
        num_classes=CLASSES, aux_logits=auxiliary, init_weights=False, dropout=0.0, dropout_aux=0.0
    )
    rates = {"dropout_rate": 0.0, "auxiliary_dropout_rate": 0.0}
    return theirs, models.googlenet(models.GoogLeNetConfig(CLASSES, auxiliary=auxiliary, **rates))


def efficientnet(variant):
    settings = {"num_classes": CLASSES, "dropout": 0.0, "stochastic_depth_prob": 0.0}
    config = models.efficientnet_config(variant, classes=CLASSES, dropout_rate=0.0, drop_path_rate=0.0)
    return getattr(torchvision, f"efficientnet_b{variant}")(**settings), models.efficientnet(config)


def vit(size):
    """torchvision initializes the last layer as zeros, which would hide the gradients of all others."""
    theirs = torchvision.vit_b_16(num_classes=CLASSES, image_size=size)
    torch.nn.init.normal_(theirs.heads.head.weight, std=0.1)
    return theirs, models.vit(models.ViTConfig(size, 16, CLASSES))


slow = pytest.mark.slow
NETWORKS = {
    "vgg11": (lambda: vgg(11, False), slow),
    "vgg11_bn": (lambda: vgg(11, True), slow),
    "vgg13": (lambda: vgg(13, False), slow),
    "vgg13_bn": (lambda: vgg(13, True), slow),
    "vgg16": (lambda: vgg(16, False), slow),
    "vgg16_bn": (lambda: vgg(16, True), slow),
    "vgg19": (lambda: vgg(19, False), slow),
    "vgg19_bn": (lambda: vgg(19, True), slow),
    "resnet18": (lambda: resnet(18), ()),
    "resnet34": (lambda: resnet(34), slow),
    "resnet50": (lambda: resnet(50), slow),
    "resnet101": (lambda: resnet(101), slow),
    "resnet152": (lambda: resnet(152), slow),
    "googlenet": (lambda: googlenet(True), slow),
    "googlenet_no_auxiliary": (lambda: googlenet(False), slow),
    "efficientnet_b0": (lambda: efficientnet(0), slow),
    "efficientnet_b1": (lambda: efficientnet(1), slow),
    "efficientnet_b5": (lambda: efficientnet(5), slow),
}
LARGE = {
    "vgg11_bn": lambda: vgg(11, True, hidden=4096),
    "resnet18": lambda: resnet(18),
    "googlenet": lambda: googlenet(True),
    "efficientnet_b0": lambda: efficientnet(0),
}
"""One of each family, compared for large images too."""
CASES = [pytest.param(make, 75, id=f"{name}-75", marks=mark) for name, (make, mark) in NETWORKS.items()]
CASES += [pytest.param(make, 224, id=f"{name}-224", marks=slow) for name, make in LARGE.items()]
CASES += [pytest.param(functools.partial(vit, size), size, id=f"vit_b_16-{size}", marks=slow) for size in (224, 80)]


@pytest.fixture(autouse=True)
def double_precision():
    with float64():
        yield
    jax.clear_caches()


def make_pair(make):
    """torchvision's network with random weights and statistics that have seen batches, and ours with the same."""
    torch.manual_seed(0)
    theirs, ours = make()
    theirs = theirs.double()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            module.num_batches_tracked.fill_(10**4)  # so many that ours is no longer in its first, exact averages
    return theirs, ours, *weights.from_torch(theirs.state_dict(), ours)


def images(size):
    return np.random.default_rng(0).normal(size=(2, size, size, 3))


def assert_near(actual, expected, what):
    """Compare; the gradient of a bias before batch norm is zero, of which rounding leaves about 1e-15."""
    expected = np.asarray(expected)
    scale = max(1e-6, np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=TOLERANCE * scale, err_msg=what)


@pytest.mark.parametrize(("make", "size"), CASES)
def test_evaluation_and_training(make, size):
    theirs, ours, params, state = make_pair(make)
    compare_evaluation(theirs, ours, params, state, images(size))
    compare_training(theirs, ours, params, state, images(size))


def compare_evaluation(theirs, ours, params, state, x):
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(x).permute(0, 3, 1, 2))
    logits, new_state = jax.jit(lambda p, s, x: ours.apply(p, s, x, train=False))(params, state, x)
    assert_near(logits, expected, "logits of evaluation")
    jax.tree.map(np.testing.assert_array_equal, new_state, state)


def compare_training(theirs, ours, params, state, x):
    outputs = theirs.train()(torch.tensor(x).permute(0, 3, 1, 2))
    expected = [outputs.logits, outputs.aux_logits1, outputs.aux_logits2] if hasattr(outputs, "logits") else [outputs]
    expected = [output for output in expected if output is not None]
    directions = [np.random.default_rng(i).normal(size=tuple(output.shape)) for i, output in enumerate(expected)]
    sum((output * torch.tensor(d)).sum() for output, d in zip(expected, directions, strict=True)).backward()

    def scalar(params):
        outputs, new_state = ours.apply(params, state, x, key=jax.random.key(0), train=True)
        outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
        return sum(jnp.vdot(o, d) for o, d in zip(outputs, directions, strict=True)), (outputs, new_state)

    gradients, (outputs, new_state) = jax.jit(jax.grad(scalar, has_aux=True))(params)
    for number, (actual, output) in enumerate(zip(outputs, expected, strict=True)):
        assert_near(actual, output.detach(), f"output {number}")
    actual = weights.to_torch(gradients, new_state, ours)
    for name, parameter in theirs.named_parameters():
        assert_near(actual[name], parameter.grad, f"gradient of {name}")
    for name, buffer in theirs.named_buffers():
        assert_near(actual[name], buffer, name)
