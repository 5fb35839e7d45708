"""The networks of a DCGAN against PyTorch's layers with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch.nn.utils import spectral_norm

from jaxnets import count_parameters, models
from tests.forms import float64
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity, to_torch


def arrays_of(model):
    """Parameters away from their initial values, and the initial state, in 64 bits."""
    params, state = quick_jit(model.init)(jax.random.key(0))
    noisy = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) + 0.1 * normal(*leaf.shape), params)
    return noisy, state


def channels_last(x):
    return x.permute(0, 2, 3, 1)


def channels_first(x):
    return x.permute(0, 3, 1, 2)


def batch_norm(params, x):
    return functional.batch_norm(x, None, None, params["scale"], params["bias"], training=True)


def generator(params, noise):
    """As in PyTorch's example: transposed convolutions, the first one of a single pixel."""
    features, size = params["norm"]["scale"].shape[0], 7
    weight = params["fc"]["kernel"].reshape(-1, size, size, features).permute(0, 3, 1, 2)
    x = functional.conv_transpose2d(noise[:, :, None, None], weight)
    x = functional.relu(batch_norm(params["norm"], x))
    for own in params["blocks"]:
        weight = own["conv"]["kernel"].permute(3, 2, 0, 1)
        x = functional.relu(batch_norm(own["norm"], functional.conv_transpose2d(x, weight, stride=2, padding=1)))
    weight = params["out"]["kernel"].permute(3, 2, 0, 1)
    return channels_last(functional.conv_transpose2d(x, weight, params["out"]["bias"], stride=2, padding=1).tanh())


def weight_of(params):
    return params["kernel"].permute(3, 2, 0, 1).contiguous()


def discriminator(params, x):
    x = channels_first(x)
    for i, own in enumerate(params["blocks"]):
        x = functional.conv2d(x, weight_of(own["conv"]), own["conv"].get("bias"), stride=2, padding=1)
        if "norm" in own:
            assert i > 0
            x = batch_norm(own["norm"], x)
        x = functional.leaky_relu(x, 0.2)
    return functional.conv2d(x, weight_of(params["out"]), params["out"]["bias"]).flatten()


def test_the_generator_is_that_of_pytorch():
    with float64():
        model = models.dcgan_generator(models.DCGANGeneratorConfig(28, 1, noise=5, width=3))
        params, state = arrays_of(model)
        noise = normal(4, 5).astype(np.float64)
        assert_parity(
            lambda params, noise: model.apply(params, state, noise, train=True)[0],
            generator,
            params,
            noise,
            rtol=1e-6,
            atol=1e-8,
        )


@pytest.mark.parametrize(("norm", "size"), [("batch", 32), ("none", 28)])
def test_the_discriminator_is_that_of_pytorch(norm, size):
    with float64():
        model = models.dcgan_discriminator(models.DCGANDiscriminatorConfig(size, 1, width=3, norm=norm))
        params, state = arrays_of(model)
        images = normal(3, size, size, 1).astype(np.float64)
        assert_parity(
            lambda params, images: model.apply(params, state, images, train=True)[0],
            discriminator,
            params,
            images,
            rtol=1e-6,
            atol=1e-8,
        )


def test_the_discriminator_with_spectral_norm_is_that_of_pytorch():
    with float64():
        model = models.dcgan_discriminator(models.DCGANDiscriminatorConfig(28, 1, width=3, norm="spectral"))
        params, state = arrays_of(model)
        layers = []
        for own, at in [
            *((block["conv"], at["conv"]) for block, at in zip(params["blocks"], state["blocks"], strict=True)),
            (params["out"], state["out"]),
        ]:
            height, width, before, after = own["kernel"].shape
            settings = {"stride": 1} if after == 1 else {"stride": 2, "padding": 1}
            layer = torch.nn.Conv2d(before, after, (height, width), **settings).double()
            layer.weight.data, layer.bias.data = weight_of(to_torch(own)), torch.tensor(own["bias"])
            layer = spectral_norm(layer)
            layer.weight_u.data = torch.tensor(np.asarray(at["u"], np.float64))
            layers.append(layer.train())
        images = normal(3, 28, 28, 1).astype(np.float64)
        x = channels_first(torch.tensor(images))
        for layer in layers[:-1]:
            x = functional.leaky_relu(layer(x), 0.2)
        expected = layers[-1](x).flatten()
        expected.sum().backward()

        def total(params):
            scores, new = model.apply(params, state, jnp.asarray(images), train=True)
            return scores.sum(), (scores, new)

        gradients, (scores, new) = jax.jit(jax.grad(total, has_aux=True))(params)
        np.testing.assert_allclose(scores, expected.detach(), rtol=1e-5)
        # The state is in float32 here, in 64 bits there.
        np.testing.assert_allclose(new["out"]["u"], layers[-1].weight_u, rtol=1e-5)
        np.testing.assert_allclose(
            jnp.moveaxis(gradients["blocks"][0]["conv"]["kernel"], (3, 2), (0, 1)),
            layers[0].weight_orig.grad,
            rtol=1e-4,
            atol=1e-6,
        )


def test_parameters_of_the_sizes_of_the_tutorial():
    """PyTorch's tutorial, 64 x 64 x 3 and width 64: the sums of its printed layers."""
    generator = models.dcgan_generator(models.DCGANGeneratorConfig(width=64))
    discriminator = models.dcgan_discriminator(models.DCGANDiscriminatorConfig(width=64))
    assert count_parameters(generator.spec) == 3_576_704 + 3  # the tutorial's last layer has no bias
    assert count_parameters(discriminator.spec) == 2_765_568 + 64 + 1  # nor have its first and last convolution


@pytest.mark.parametrize("size", [28, 32, 64])
def test_images_of_all_sizes_are_made_and_judged(size):
    generator = models.dcgan_generator(models.DCGANGeneratorConfig(size, 2, noise=3, width=1))
    discriminator = models.dcgan_discriminator(models.DCGANDiscriminatorConfig(size, 2, width=1, norm="none"))
    images, _ = jax.eval_shape(
        lambda: generator.apply(*generator.init(jax.random.key(0)), jnp.ones((5, 3)), train=True)
    )
    assert images.shape == (5, size, size, 2)
    scores, _ = jax.eval_shape(
        lambda x: discriminator.apply(*discriminator.init(jax.random.key(0)), x, train=True), images
    )
    assert scores.shape == (5,)


def test_images_of_another_size_are_an_error():
    model = models.dcgan_discriminator(models.DCGANDiscriminatorConfig(28, 1, width=2))
    with pytest.raises(ValueError, match=r"images must be \[batch, 28, 28, 1\], got \[2, 32, 32, 1\]"):
        jax.eval_shape(lambda: model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 32, 32, 1)), train=True))
