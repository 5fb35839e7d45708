"""Losses of GANs against PyTorch, and the gradient penalty through convolutions against its double backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn import functional

from jaxnets import losses, nn
from jaxnets.backend import plain_forms
from tests.forms import float64
from tests.oracles import assert_close, normal, quick_jit
from tests.torch_oracle import assert_parity, to_torch

BCE = functional.binary_cross_entropy_with_logits


def torch_bce(scores, label):
    return BCE(scores, torch.full_like(scores, label), reduction="none")


DISCRIMINATOR = {
    "non_saturating": lambda x, g: torch_bce(x, 1.0) + torch_bce(g, 0.0),
    "hinge": lambda x, g: functional.relu(1 - x) + functional.relu(1 + g),
    "wasserstein": lambda x, g: g - x,
}
GENERATOR = {
    "non_saturating": lambda g: torch_bce(g, 1.0),
    "hinge": lambda g: -g,
    "wasserstein": lambda g: -g,
}


@pytest.mark.parametrize("kind", DISCRIMINATOR)
def test_losses_are_those_of_torch(kind):
    real, fake = 3 * normal(4, 3), 3 * normal(4, 3, seed=1)
    assert_parity(lambda x, g: losses.gan_discriminator(x, g, kind), DISCRIMINATOR[kind], real, fake)
    assert_parity(lambda g: losses.gan_generator(g, kind), GENERATOR[kind], fake)


def test_scores_of_hundreds_keep_loss_and_gradient_finite():
    scores = jnp.array([-500.0, 500.0])
    np.testing.assert_array_equal(losses.gan_generator(scores, "non_saturating"), [500, 0])
    slopes = jax.grad(lambda s: jnp.sum(losses.gan_discriminator(s, s, "non_saturating")))(scores)
    np.testing.assert_array_equal(slopes, [-1, 1])


PARAMS = {
    "conv1": {"kernel": normal(3, 3, 2, 4, dtype=np.float64) / 4, "bias": normal(4, dtype=np.float64)},
    "norm": {"scale": 1 + normal(4, dtype=np.float64) / 4, "bias": normal(4, seed=1, dtype=np.float64)},
    "conv2": {"kernel": normal(3, 3, 4, 5, dtype=np.float64) / 6, "bias": normal(5, dtype=np.float64)},
    "fc": {"kernel": normal(20, 1, dtype=np.float64) / 4, "bias": normal(1, dtype=np.float64)},
}


def critic(params, x):
    """Strides of 1 and 2, so that both fast forms of the gradient are in it."""
    h = nn.leaky_relu(nn.layer_norm(params["norm"], nn.conv(params["conv1"], x)), 0.2)
    h = nn.leaky_relu(nn.conv(params["conv2"], h, stride=2, padding=1), 0.2)
    return nn.linear(params["fc"], h.reshape(len(h), -1)).squeeze(-1)


def torch_critic(params, x):
    def conv(layer, x, **settings):
        kernel = layer["kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(x.movedim(-1, 1), kernel, layer["bias"], padding=1, **settings).movedim(1, -1)

    h = conv(params["conv1"], x)
    h = functional.layer_norm(h, (4,), params["norm"]["scale"], params["norm"]["bias"], eps=1e-5)
    h = functional.leaky_relu(conv(params["conv2"], functional.leaky_relu(h, 0.2), stride=2), 0.2)
    return (h.reshape(len(h), -1) @ params["fc"]["kernel"] + params["fc"]["bias"]).squeeze(-1)


def torch_penalty(params, real, fake, shares):
    x = shares * real + (1 - shares) * fake
    (slopes,) = torch.autograd.grad(torch_critic(params, x).sum(), x, create_graph=True)
    return (slopes.flatten(1).norm(dim=1) - 1) ** 2


@pytest.mark.parametrize(
    ("dtype", "plain", "tolerance"),
    [(np.float64, False, 1e-9), (np.float64, True, 1e-9), (np.float32, False, 1e-4)],  # oneDNN convolves float32
    ids=["fast", "plain", "fast in float32"],
)
def test_the_gradient_of_the_penalty_is_torchs_double_backward(dtype, plain, tolerance, enter):
    if dtype == np.float64:
        enter(float64())
    if plain:
        enter(plain_forms())
    trees = PARAMS, *(normal(3, 4, 4, 2, seed=seed, dtype=np.float64) for seed in range(2))
    trees = jax.tree.map(lambda x: x.astype(dtype), trees)
    key, weights = jax.random.key(5), np.arange(1, 4, dtype=dtype)

    @quick_jit
    def ours(params, real, fake):
        def total(params, real, fake):
            penalties = losses.gradient_penalty(lambda x: critic(params, x), real, fake, key)
            return jnp.sum(penalties * weights), penalties

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(params, real, fake)

    gradients, penalties = ours(*trees)
    tensors = to_torch(jax.tree.map(lambda x: x.astype(np.float64), trees), requires_grad=True)
    shares = torch.tensor(np.asarray(jax.random.uniform(key, (3, 1, 1, 1), dtype), np.float64))
    expected = torch_penalty(*tensors, shares)
    (expected * torch.tensor(weights)).sum().backward()
    assert_close(penalties, expected, rtol=tolerance, atol=tolerance)
    # A bias that only shifts the score has no part in its slope: PyTorch has no gradient there.
    slopes = jax.tree.map(lambda t: torch.zeros_like(t) if t.grad is None else t.grad, tensors)
    assert_close(gradients, slopes, rtol=tolerance, atol=tolerance)


def test_a_critic_without_slope_has_the_penalty_1_and_no_gradient():
    x = normal(2, 3)

    def penalty(w):
        return jnp.sum(losses.gradient_penalty(lambda x: x @ w, x, x, jax.random.key(0)))

    value, slope = quick_jit(jax.value_and_grad(penalty))(jnp.zeros(3))
    assert value == 2
    np.testing.assert_array_equal(slope, np.zeros(3))


def test_points_are_uniform_between_each_pair():
    """The slope of |x|^2 / 2 is x: between (1, 0) and (0, 0) the penalty is (e - 1)^2."""
    real = np.tile(np.float32([1, 0]), (500, 1))
    penalties = quick_jit(
        lambda key: losses.gradient_penalty(lambda x: jnp.sum(x**2, axis=1) / 2, real, 0 * real, key)
    )(jax.random.key(3))
    assert scipy.stats.kstest(1 - np.sqrt(penalties), "uniform").pvalue > 0.01


def test_low_precision_goes_to_the_critic_as_it_is():
    x = jnp.ones((2, 3), jnp.bfloat16)
    dtypes = []

    def score(x):
        dtypes.append(x.dtype)
        return 2 * x[:, 0]

    penalties = losses.gradient_penalty(score, x, x, jax.random.key(0), target=0.5)
    assert dtypes == [jnp.bfloat16]
    np.testing.assert_array_equal(penalties, np.float32([2.25, 2.25]))


def test_a_batch_without_examples_has_no_penalties():
    nothing = jnp.zeros((0, 4, 4, 1))
    penalties = losses.gradient_penalty(lambda x: x.sum((1, 2, 3)), nothing, nothing, jax.random.key(0))
    assert penalties.shape == (0,)


def test_errors():
    x, key = jnp.ones((2, 3)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"kind must be one of 'non_saturating', 'hinge', 'wasserstein', got 'lsgan'"):
        losses.gan_generator(x, "lsgan")
    with pytest.raises(ValueError, match=r"got \[2, 3\] and \[2\]"):
        losses.gan_discriminator(x, x[:, 0], "hinge")
    with pytest.raises(ValueError, match=r"critic must give scores \[2\], got \[2, 1\]; write .squeeze"):
        losses.gradient_penalty(lambda x: x[:, :1], x, x, key)
    with pytest.raises(ValueError, match="gradient_penalty needs a random key"):
        losses.gradient_penalty(lambda x: x[:, 0], x, x, None)
    with pytest.raises(ValueError, match=r"real must be \[batch, ...\], got \[2\]"):
        losses.gradient_penalty(lambda x: x, x[:, 0], x[:, 0], key)
