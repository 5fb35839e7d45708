"""Policy gradients against formulas in PyTorch, worked numbers, and the exact divergence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import losses
from jaxnets.policy_gradient import clipped_policy_loss, group_advantages, reference_kl
from tests.forms import float64
from tests.oracles import normal
from tests.torch_oracle import assert_parity

OLD, ADVANTAGES = normal(5, 7, seed=1), normal(5, 7, seed=2)


def torch_clipped(new, old, advantages, below=0.2, above=0.2):
    ratio = torch.exp(new - old)
    return -torch.where(
        advantages > 0,
        torch.clamp(ratio, max=1 + above) * advantages,
        torch.clamp(ratio, min=1 - below) * advantages,
    )


@pytest.mark.parametrize(("clip", "ends"), [(0.2, (0.2, 0.2)), ((0.1, 0.4), (0.1, 0.4)), (0.0, (0.0, 0.0))])
def test_clipped_loss_and_its_gradient_equal_torch(clip, ends):
    new = OLD + 0.5 * normal(5, 7, seed=3)

    def theirs(new):
        return torch_clipped(new, torch.tensor(OLD), torch.tensor(ADVANTAGES), *ends)

    assert_parity(lambda new: clipped_policy_loss(new, OLD, ADVANTAGES, clip=clip), theirs, new)


def test_clipping_worked_by_hand():
    """Six cases: a ratio within, above and below, for an advantage of 2 and of -2."""
    ratios = jnp.array([1.1, 1.5, 0.5, 1.1, 1.5, 0.5])
    advantages = jnp.array([2.0, 2.0, 2.0, -2.0, -2.0, -2.0])
    zeros = jnp.zeros(6)
    values = clipped_policy_loss(jnp.log(ratios), zeros, advantages)
    np.testing.assert_allclose(values, [-2.2, -2.4, -1.0, 2.2, 3.0, 1.6], rtol=1e-6)
    slopes = jax.grad(lambda new: clipped_policy_loss(new, zeros, advantages).sum())(jnp.log(ratios))
    np.testing.assert_allclose(slopes, [-2.2, 0, -1.0, 2.2, 3.0, 0], rtol=1e-6)


def test_one_step_a_round_is_reinforce():
    """At the policy that drew, the gradient is the mean of -A grad log p, here worked out for a softmax."""
    logits, drawn, advantages = normal(3, 4), np.array([2, 0, 3]), np.array([0.5, -1.0, 2.0], np.float32)

    def loss(logits):
        log_probs = -losses.cross_entropy(logits, drawn)
        return clipped_policy_loss(log_probs, log_probs, advantages).mean()

    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -advantages[:, None] * (np.eye(4)[drawn] - probabilities) / 3
    np.testing.assert_allclose(jax.grad(loss)(logits), expected, rtol=1e-5, atol=1e-6)


def test_advantages_equal_numpy_and_have_no_gradient():
    rewards = normal(2, 3, 8)
    expected = (rewards - rewards.mean(axis=2, keepdims=True)) / (rewards.std(axis=2, keepdims=True) + 1e-4)
    np.testing.assert_allclose(group_advantages(rewards), expected, rtol=1e-5, atol=1e-6)
    torch_deviation = torch.tensor(rewards).std(dim=2, keepdim=True, unbiased=False).numpy()
    centered = rewards - rewards.mean(axis=2, keepdims=True)
    np.testing.assert_allclose(group_advantages(rewards, epsilon=0.3), centered / (torch_deviation + 0.3), rtol=1e-5)
    assert not np.any(jax.grad(lambda r: (group_advantages(r) ** 2).sum())(rewards))


def test_equal_rewards_teach_nothing_and_one_answer_has_no_advantage():
    np.testing.assert_array_equal(group_advantages(jnp.full((3, 5), 0.25)), np.zeros((3, 5)))
    np.testing.assert_array_equal(group_advantages(jnp.array([[1.0], [0.0]])), np.zeros((2, 1)))


def test_the_estimate_of_the_divergence_has_its_mean_and_is_never_negative():
    """Weighted by the probabilities, the estimates of all tokens add up to the exact divergence."""
    logits, other = normal(6, 9), normal(6, 9, seed=1)
    p, q = jax.nn.log_softmax(logits), jax.nn.log_softmax(other)
    estimates = reference_kl(p, q)
    assert float(jnp.min(estimates)) >= 0
    exact = losses.kl_divergence(other, jnp.exp(p))
    np.testing.assert_allclose(jnp.sum(jnp.exp(p) * estimates, axis=-1), exact, rtol=1e-5)
    tensors = [torch.tensor(np.array(log_probs)) for log_probs in (q, p)]
    theirs = torch.nn.functional.kl_div(*tensors, log_target=True, reduction="batchmean")
    np.testing.assert_allclose(jnp.sum(jnp.exp(p) * estimates) / 6, theirs, rtol=1e-5)


def test_the_divergence_and_its_gradient_equal_torch():
    def theirs(new, reference):
        return torch.exp(reference - new) - (reference - new) - 1

    assert_parity(lambda new: reference_kl(new, OLD), lambda new: theirs(new, torch.tensor(OLD)), normal(5, 7))


def test_only_the_policy_that_learns_has_a_gradient():
    new = normal(5, 7)
    for loss in (lambda old: clipped_policy_loss(new, old, ADVANTAGES), lambda old: reference_kl(new, old)):
        assert not np.any(jax.grad(lambda old, f=loss: f(old).sum())(OLD))
    assert not np.any(jax.grad(lambda a: clipped_policy_loss(new, OLD, a).sum())(ADVANTAGES))


def test_precision():
    new, old = jnp.asarray(normal(4), jnp.bfloat16), jnp.asarray(normal(4, seed=1), jnp.bfloat16)
    assert clipped_policy_loss(new, old, jnp.ones(4, jnp.bfloat16)).dtype == jnp.float32
    assert reference_kl(new, old).dtype == group_advantages(new).dtype == jnp.float32
    with float64():
        wide = normal(4).astype(np.float64)
        assert group_advantages(wide).dtype == reference_kl(wide, wide).dtype == jnp.float64


def test_errors():
    ones = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"log_probs and advantages must have the same shape, got \[2, 3\] and \[2\]"):
        clipped_policy_loss(ones, ones, jnp.ones(2))
    with pytest.raises(ValueError, match=r"log_probs and old_log_probs must have the same shape"):
        clipped_policy_loss(ones, jnp.ones((2, 1)), ones)
    with pytest.raises(ValueError, match=r"log_probs and reference_log_probs must have the same shape"):
        reference_kl(ones, jnp.ones((2, 1)))
    with pytest.raises(ValueError, match=r"clip must not be negative, got -0\.1"):
        clipped_policy_loss(ones, ones, ones, clip=-0.1)
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        group_advantages(ones, epsilon=0)
    with pytest.raises(ValueError, match=r"rewards must be \[..., answers\], got one number"):
        group_advantages(1.0)
    with pytest.raises(TypeError, match="rewards must be floating point, got int32"):
        group_advantages(jnp.ones((2, 3), jnp.int32))


def test_a_ratio_that_overflows_leaves_no_nan():
    new, old, advantages = jnp.zeros(4), jnp.array([-200.0, -200.0, 200.0, 200.0]), jnp.array([1.0, 0.0, 1.0, -1.0])
    loss, slope = jax.value_and_grad(lambda x: jnp.sum(clipped_policy_loss(x, old, advantages)))(new)
    assert loss == pytest.approx(-1.2 + 0.8)  # beyond both clips, and two ratios of 0
    np.testing.assert_array_equal(slope, [0, 0, 0, 0])


@pytest.mark.parametrize(("reward", "answers"), [(1000.1, 6), (100.3, 8), (12345.6, 8), (0.1, 3)])
def test_equal_rewards_have_no_advantage_whatever_their_mean_is_rounded_to(reward, answers):
    np.testing.assert_array_equal(group_advantages(jnp.full((2, answers), reward), epsilon=1e-8), 0)


def test_rewards_whose_squares_overflow():
    rewards = np.array([1e20, 0, 3e20, 0])
    expected = (rewards - rewards.mean()) / rewards.std()
    np.testing.assert_allclose(group_advantages(jnp.asarray(rewards, jnp.float32)), expected, rtol=1e-5)
