"""The U-Net of diffusion models, and its blocks, against the same networks written in PyTorch."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from jaxnets import count_parameters, models, nn
from tests.forms import float64
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity

CONFIG = models.DiffusionUNetConfig(
    8, 2, classes=3, features=4, multipliers=(1, 2), blocks=2, attention=(4,), heads=2, groups=2, dropout_rate=0.0
)


def random_params(spec):
    """Numbers that no initial zeros hide, in 64 bits."""
    generator = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: generator.normal(size=leaf.shape) * 0.3 + (len(leaf.shape) == 1), spec)


def linear(params, x):
    return functional.linear(x, params["kernel"].T, params["bias"])


def conv(params, x, **settings):
    weight = params["kernel"].permute(3, 2, 0, 1).contiguous()
    return functional.conv2d(x, weight, params["bias"], padding=weight.shape[-1] // 2, **settings)


def norm(params, x, groups):
    return functional.group_norm(x, groups, params["scale"], params["bias"])


def residual(params, x, condition, groups):
    h = conv(params["conv1"], functional.silu(norm(params["norm1"], x, groups)))
    if "film" in params:
        scale, shift = (linear(params["film"][name], functional.silu(condition)) for name in ("scale", "shift"))
        h = norm(params["norm2"], h, groups) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    else:
        h = norm(params["norm2"], h + linear(params["shift"], functional.silu(condition))[:, :, None, None], groups)
    shortcut = conv(params["shortcut"], x) if "shortcut" in params else x
    return shortcut + conv(params["conv2"], functional.silu(h))


def attend(params, x, groups):
    """PyTorch's own attention, its kernels in the layout of `torch.nn.MultiheadAttention`."""
    batch, channels, height, width = x.shape
    rows = norm(params["norm"], x, groups).flatten(2).transpose(1, 2)
    own = params["attention"]
    heads = own["query"]["kernel"].shape[1]
    joined = {
        "in_proj_weight": torch.cat([own[name]["kernel"].flatten(1).T for name in ("query", "key", "value")]),
        "in_proj_bias": torch.cat([own[name]["bias"].flatten() for name in ("query", "key", "value")]),
        "out_proj.weight": own["out"]["kernel"].flatten(0, 1).T,
        "out_proj.bias": own["out"]["bias"],
    }
    layer = torch.nn.MultiheadAttention(channels, heads, batch_first=True, dtype=x.dtype)
    y, _ = torch.func.functional_call(layer, joined, (rows, rows, rows), {"need_weights": False})
    return x + y.transpose(1, 2).reshape(batch, channels, height, width)


def unet(params, x, t, labels, config):
    """Written from the paper's description, for two levels with attention at the lower one."""
    groups, half = config.groups, config.features // 2
    waves = t.double()[:, None] * torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float64) / half)[None]
    condition = linear(params["time1"], torch.cat([waves.sin(), waves.cos()], dim=1))
    condition = linear(params["time2"], functional.silu(condition)) + params["classes"]["embedding"][labels]

    x0 = conv(params["first"], x.permute(0, 3, 1, 2))
    (upper, lower), (lower_up, upper_up), middle = params["down"], params["up"], params["middle"]
    x1 = residual(upper["blocks"][0]["residual"], x0, condition, groups)
    x2 = residual(upper["blocks"][1]["residual"], x1, condition, groups)
    x3 = conv(upper["resize"], x2, stride=2)

    def both(params, x):
        return attend(params["attention"], residual(params["residual"], x, condition, groups), groups)

    x4 = both(lower["blocks"][0], x3)
    x5 = both(lower["blocks"][1], x4)
    h = residual(middle["residual1"], x5, condition, groups)
    h = residual(middle["residual2"], attend(middle["attention"], h, groups), condition, groups)
    for own, skip in zip(lower_up["blocks"], (x5, x4, x3), strict=True):
        h = both(own, torch.cat([h, skip], dim=1))
    h = conv(lower_up["resize"], functional.interpolate(h, scale_factor=2, mode="nearest"))
    for own, skip in zip(upper_up["blocks"], (x2, x1, x0), strict=True):
        h = residual(own["residual"], torch.cat([h, skip], dim=1), condition, groups)
    return conv(params["last"], functional.silu(norm(params["norm"], h, groups))).permute(0, 2, 3, 1)


@pytest.mark.parametrize("scaled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_network_is_that_of_pytorch(scaled):
    config = dataclasses.replace(CONFIG, scaled=scaled)
    with float64():
        model = models.diffusion_unet(config)
        params, x = random_params(model.spec), normal(2, 8, 8, 2).astype(np.float64)
        t, labels = np.array([0, 701]), np.array([3, 1])

        def ours(params, x):
            return model.apply(params, {}, models.DiffusionInputs(x, jnp.asarray(t), jnp.asarray(labels)), train=True)[
                0
            ]

        def theirs(params, x):
            return unet(params, x, torch.tensor(t), torch.tensor(labels), config)

        assert_parity(ours, theirs, params, x, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("scaled", [False, True])
def test_the_residual_block_is_that_of_pytorch(scaled):
    with float64():
        params = random_params(nn.conditioned_block_spec(4, 6, 5, scaled=scaled))
        x, condition = normal(3, 4, 5, 4).astype(np.float64), normal(3, 5).astype(np.float64)
        assert_parity(
            lambda params, x, condition: nn.conditioned_block(params, x, condition, groups=2, train=False),
            lambda params, x, condition: residual(params, x.permute(0, 3, 1, 2), condition, 2).permute(0, 2, 3, 1),
            params,
            x,
            condition,
            rtol=1e-6,
            atol=1e-8,
        )


def test_the_attention_is_that_of_pytorch():
    with float64():
        params = random_params(nn.image_attention_spec(6, heads=3))
        assert_parity(
            lambda params, x: nn.image_attention(params, x, groups=2),
            lambda params, x: attend(params, x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1),
            params,
            normal(2, 3, 4, 6).astype(np.float64),
            rtol=1e-6,
            atol=1e-8,
        )


def test_the_number_of_parameters_is_the_published_one():
    """35.7 million for CIFAR-10 (Ho et al., 2020, appendix B)."""
    assert round(count_parameters(models.diffusion_unet().spec) / 1e6, 1) == 35.7


def test_at_first_the_network_predicts_zero():
    """Because the last layer does, whatever comes before (appendix B of the paper)."""
    model = models.diffusion_unet(dataclasses.replace(CONFIG, multipliers=(1,), blocks=1, attention=()))
    inputs = models.DiffusionInputs(jnp.ones((1, 8, 8, 2)), jnp.array([4]), jnp.array([0]))
    predicted, _ = quick_jit(lambda key: model.apply(*model.init(key), inputs, train=False))(jax.random.key(0))
    np.testing.assert_array_equal(predicted, 0)


def shape_of(model, inputs):
    """Trace the network, which compiles nothing."""
    return jax.eval_shape(lambda: model.apply(*model.init(jax.random.key(0)), inputs, train=False))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.ones((2, 9, 8, 2), np.float32), np.ones(2, int), np.ones(2, int)), r"x must be \[batch, 8, 8, 2\]"),
        ((np.ones((2, 8, 8, 2), np.float32), np.ones(3, int), np.ones(2, int)), r"t must be \[2\], one an image"),
        ((np.ones((2, 8, 8, 2), np.float32), np.ones(2, int), None), "3 classes; pass labels, 3 for no class"),
    ],
)
def test_errors_say_what_to_pass(inputs, message):
    model = models.diffusion_unet(CONFIG)
    shapes = models.DiffusionInputs(*(given if given is None else jnp.asarray(given) for given in inputs))
    with pytest.raises(ValueError, match=message):
        shape_of(model, shapes)


def test_labels_for_a_network_without_classes_are_an_error():
    model = models.diffusion_unet(dataclasses.replace(CONFIG, classes=0))
    inputs = models.DiffusionInputs(jnp.ones((1, 8, 8, 2)), jnp.array([4]), jnp.array([0]))
    with pytest.raises(ValueError, match="knows no classes; pass no labels"):
        shape_of(model, inputs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attention": (5,)}, r"attention must be at some of the sizes \[8, 4\], got \[5\]"),
        ({"groups": 3}, r"groups must divide the channels \[4, 8\], got 3"),
        ({"multipliers": ()}, "multipliers must be of 1 to 20 levels"),
        ({"features": 5}, "features must be even"),
    ],
)
def test_settings_that_do_not_fit_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **settings)
