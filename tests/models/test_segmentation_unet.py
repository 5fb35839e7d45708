"""The U-Net against PyTorch's layers with the same weights, in float64, for sizes that are even and odd."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import models, weights
from tests.forms import float64
from tests.oracles import quick_jit
from tests.torch_oracle import to_torch


class Unit(torch.nn.Module):
    def __init__(self, before, after, norm):
        super().__init__()
        self.conv = torch.nn.Conv2d(before, after, 3, padding=1, bias=not norm)
        self.norm = torch.nn.BatchNorm2d(after) if norm else torch.nn.Identity()

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class UNet(torch.nn.Module):
    """The network of the paper with padding, in the usual form of PyTorch programs."""

    def __init__(self, classes, width, levels, norm, bilinear):
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]

        def pair(before, after):
            return torch.nn.Sequential(Unit(before, after, norm), Unit(after, after, norm))

        def enlarge(before, after):
            if bilinear:  # in the usual order, interpolation first
                return torch.nn.Sequential(
                    torch.nn.Upsample(scale_factor=2, mode="bilinear"), torch.nn.Conv2d(before, after, 1)
                )
            return torch.nn.ConvTranspose2d(before, after, 2, stride=2)

        self.down = torch.nn.ModuleList(map(pair, (3, *widths[:-1]), widths))
        self.enlarge = torch.nn.ModuleList(map(enlarge, widths[:0:-1], widths[-2::-1]))
        self.up = torch.nn.ModuleList(pair(2 * here, here) for here in widths[-2::-1])
        self.out = torch.nn.Conv2d(width, classes, 1)

    def forward(self, x):
        skips = []
        for level, pair in enumerate(self.down):
            if level:
                skips.append(x)
                x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
            x = pair(x)
        for enlarge, pair in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            x = enlarge(x)[..., : skip.shape[2], : skip.shape[3]]
            x = pair(torch.cat([skip, x], dim=1))
        return self.out(x)


def names_of(config):
    """Where each of PyTorch's modules is in the spec."""
    found = {"out": "out"}
    for i in range(config.levels):
        found[f"enlarge.{i}.1" if config.upsampling == "bilinear" else f"enlarge.{i}"] = f"up/{i}/enlarge"
    parts = ("conv", "norm") if config.norm else ("conv",)
    for part in parts:
        for unit in (0, 1):
            for i in range(config.levels + 1):
                found[f"down.{i}.{unit}.{part}"] = f"down/{i}/unit{unit + 1}/{part}"
            for i in range(config.levels):
                found[f"up.{i}.{unit}.{part}"] = f"up/{i}/pair/unit{unit + 1}/{part}"
    return {module: weights.Place(path) for module, path in found.items()}


CASES = [("transposed", True, (13, 18), 2), ("bilinear", False, (11, 9), 2), ("transposed", False, (16, 24), 3)]


@pytest.mark.parametrize(("upsampling", "norm", "size", "levels"), CASES)
def test_logits_gradients_and_statistics_are_pytorchs(upsampling, norm, size, levels):
    torch.manual_seed(0)
    config = models.SegmentationUNetConfig(4, width=3, levels=levels, norm=norm, upsampling=upsampling)
    theirs = UNet(4, 3, levels, norm, upsampling == "bilinear").double()
    with float64():
        names = names_of(config)
        model = models.segmentation_unet(config)
        params, state = weights.from_torch(theirs.state_dict(), model, names=names)
        x = np.random.default_rng(0).normal(size=(2, *size, 3))
        direction = np.random.default_rng(1).normal(size=(2, *size, 4))

        def value(params, x):
            logits, new_state = model.apply(params, state, x, train=True)
            return jnp.sum(logits * direction), (logits, new_state)

        gradients, (logits, new_state) = quick_jit(jax.grad(value, has_aux=True))(params, x)
        expected = theirs(to_torch(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        (expected * to_torch(direction)).sum().backward()
        np.testing.assert_allclose(logits, expected.detach().numpy(), atol=1e-9)
        for tensor in theirs.parameters():
            tensor.data = tensor.grad
        moved, statistics = weights.from_torch(theirs.state_dict(), model, names=names)
        jax.tree.map(lambda ours, wanted: np.testing.assert_allclose(ours, wanted, atol=1e-7), gradients, moved)
        assert jax.tree.structure(new_state) == jax.tree.structure(state)
        if norm:  # PyTorch's after one batch are a tenth of the batch's; ours at first are the batch's
            ours, wanted = (tree["down"][0]["unit1"]["norm"] for tree in (new_state, statistics))
            np.testing.assert_allclose(ours["mean"], 10 * wanted["mean"], atol=1e-9)


def test_the_papers_network_has_31_million_parameters():
    """Of kernels and biases, added up by hand from the paper's figure 1."""
    widths = [64, 128, 256, 512, 1024]
    pairs = [(9 * a + 1) * b + (9 * b + 1) * b for a, b in zip([1, *widths[:-1]], widths, strict=True)]
    back = [(4 * 2 * w + 1) * w + (9 * 2 * w + 1) * w + (9 * w + 1) * w for w in widths[:-1]]
    model = models.segmentation_unet(models.SegmentationUNetConfig(2, channels=1))
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(model.spec))
    assert count == sum(pairs) + sum(back) + (64 + 1) * 2 == 31_030_658


def test_errors():
    with pytest.raises(ValueError, match="upsampling must be one of transposed, bilinear, got 'nearest'"):
        models.SegmentationUNetConfig(2, upsampling="nearest")
    with pytest.raises(ValueError, match=r"levels must be one of 1, 2, .*, got 0"):
        models.SegmentationUNetConfig(2, levels=0)
