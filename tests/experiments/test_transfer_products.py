"""The published networks beside their PyTorch forms, and what `transfer_products` makes of pictures."""

import importlib

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from sklearn.datasets import load_sample_images

from experiments.support.published_networks import LITE0_PACKAGE, NETWORKS, RESNET20
from jaxnets import weights
from jaxnets.data.files import data_folder
from tests.oracles import assert_close, normal

experiment = importlib.import_module("experiments.transfer_products")


class Block(torch.nn.Module):
    """Without parameters in the shortcut: every second position, and channels of zeros on both sides."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(after)
        self.conv2 = torch.nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(after)
        self.stride, self.added = stride, (after - before) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return F.relu(x + y)


class ResNet20(torch.nn.Module):
    """With the published names: `linear` is the last layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16)
        stages, before = [], 16
        for after, stride in ((16, 1), (32, 2), (64, 2)):
            blocks = [Block(before, after, stride), Block(after, after, 1), Block(after, after, 1)]
            stages.append(torch.nn.Sequential(*blocks))
            before = after
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize("published", [False, True])
def test_a_file_of_the_published_names_is_the_network_in_pytorch(published):
    path = data_folder() / RESNET20.path
    if published and not path.is_file():
        pytest.skip(f"there is no {path}")
    torch.manual_seed(0)
    theirs = ResNet20().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    file = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    if published:
        file = weights.read_torch(path, entry="state_dict")
        tensors = {name.removeprefix("module."): tensor.cpu() for name, tensor in file.items()}
        theirs.load_state_dict(tensors, strict=False)
    model = NETWORKS["resnet20"].build(10, False)
    params, state = weights.from_torch(file, model, rename={"module": "", "module.linear": "fc"})
    x = normal(4, 32, 32, 3)
    with torch.no_grad():
        expected = theirs(torch.tensor(x).permute(0, 3, 1, 2))
    assert_close(model.apply(params, state, x, train=False)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [("resnet20", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ("lite0", [127 / 255] * 3, [128 / 255] * 3)],
)
def test_pictures_are_made_smaller_as_pillow_does_and_put_on_white(name, mean, deviation):
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    size = NETWORKS[name].size
    canvas = Image.new("RGB", (size, size), "white")
    canvas.paste(Image.fromarray(picture).resize((3 * size // 4, size), Image.Resampling.BOX), (size // 8, 0))
    expected = (np.asarray(canvas) / 255 - mean) / deviation
    np.testing.assert_allclose(
        NETWORKS[name].as_images(picture[None])[0], expected, atol=1.01 / 255 / min(deviation)
    )  # Pillow rounds twice


@pytest.mark.slow
def test_the_package_of_efficientnet_lite_names_what_is_in_photographs():
    """A daisy and a temple (ImageNet's classes 985 and 698, "palace"), as its PyTorch program says too."""
    pytest.importorskip(LITE0_PACKAGE)
    network = NETWORKS["lite0"]
    photographs = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((298, 224)).crop((37, 0, 261, 224)))
            for image in load_sample_images().images
        ]
    )
    images = (photographs / np.float32(255) - np.float32(network.mean)) / np.float32(network.deviation)
    logits, _ = network.build(1000, False).apply(*network.read(), images, train=False)
    assert np.argmax(logits, axis=1).tolist() == [698, 985]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_adapters_change_nothing_at_first_and_then_everything_but_what_is_published(name):
    pretrained = NETWORKS[name].random()
    config = experiment.Config(network=name, classes=3, steps=4, smoke=True)
    adapted, _, start = experiment.prepare(config, "adapters", pretrained)
    whole, _, frozen = experiment.prepare(config, "features", pretrained)
    x = normal(2, 32, 32, 3)
    same = {**frozen.params, "fc": start.params["fc"]}
    expected, _ = whole.apply(same, frozen.state, x, train=name == "resnet20")  # the other one has dropout then
    logits, _ = adapted.apply(start.params, start.state, x, train=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    gradients = jax.grad(lambda p: (adapted.apply(p, start.state, x, train=True)[0] ** 2).sum())(start.params)
    ups = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradients) if "up" in jax.tree_util.keystr(path)]
    assert len(ups) > 4
    assert all(np.abs(leaf).max() > 0 for leaf in ups)


def test_examples_are_as_many_of_each_class():
    images, labels = np.arange(40), np.arange(40) % 4
    chosen, classes = experiment.draw_examples((images, labels), 4, 3, seed=0)
    assert np.bincount(classes).tolist() == [3, 3, 3, 3]
    np.testing.assert_array_equal(labels[chosen], classes)
    assert not np.array_equal(chosen, experiment.draw_examples((images, labels), 4, 3, seed=1)[0])
