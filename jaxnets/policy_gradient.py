"""Policy gradients: learning from rewards for what a model wrote itself, as GRPO, PPO and REINFORCE do.

A round has three parts. Draw several answers to each question with `jaxnets.decode` and keep the log-probabilities of
their tokens. Give each answer a reward, and an advantage by `group_advantages`. Take a few steps of an optimizer on

    $loss = mean(clipped_policy_loss(log p, log p_old, A) + beta reference_kl(log p, log p_reference))$

over the tokens of the answers, where log p is computed again with the network's `apply`, because the loop that draws
cannot be differentiated. REINFORCE is the case of one step a round: there the ratio is 1 and the gradient
$-A grad log p$. None of these functions takes a mean; give padding the weight 0.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxnets.labels import floating, largest_size, like
from jaxnets.types import Array, ArrayLike

__all__ = ["clipped_policy_loss", "group_advantages", "reference_kl"]


def group_advantages(rewards: ArrayLike, *, epsilon: float = 1e-4) -> Array:
    """How much better an answer is than the others to the same question: $A = (r - mean(r)) / (std(r) + epsilon)$.

    The mean of the group takes the place of a second network that estimates what a question is worth. A group of equal
    rewards teaches nothing: its advantages are 0.

    Args:
        rewards: `[..., answers]`, the answers to one question along the last axis.
        epsilon: keeps what is divided by away from 0.

    Returns:
        `[..., answers]`, without a gradient.

    Raises:
        TypeError: if the rewards are not floating point.
        ValueError: if there is no axis of answers, or `epsilon` is not positive.

    Example:
        >>> advantages = group_advantages(jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
        >>> print(advantages.round(2))
        [[ 1.73 -0.58 -0.58 -0.58]
         [ 0.    0.    0.    0.  ]]

    Reference:
        Shao et al., DeepSeekMath: pushing the limits of mathematical reasoning in open language models, 2024.

    Warning:
        The deviation is that of the group itself, which divides by the number of answers. Code that calls PyTorch's
        `std` divides by one less, so its advantages are smaller by $sqrt((answers - 1) / answers)$. Liu et al.,
        Understanding R1-zero-like training, 2025, leave the division out, because it favors questions that are nearly
        always or nearly never answered.
    """
    if not epsilon > 0:
        raise ValueError(f"group_advantages: epsilon must be positive, got {epsilon}")
    rewards = floating("group_advantages", "rewards", rewards)
    if rewards.ndim == 0:
        raise ValueError("group_advantages: rewards must be [..., answers], got one number")
    # Differences are exactly 0 for equal rewards, of which the rounded mean of large ones is not one.
    from_first = rewards - rewards[..., :1]
    centered = from_first - jnp.mean(from_first, axis=-1, keepdims=True)
    scale = largest_size(centered)
    deviation = scale * jnp.sqrt(jnp.mean(jnp.square(centered / scale), axis=-1, keepdims=True))
    return jax.lax.stop_gradient(centered / (deviation + epsilon))


def clipped_policy_loss(
    log_probs: ArrayLike, old_log_probs: ArrayLike, advantages: ArrayLike, *, clip: float | tuple[float, float] = 0.2
) -> Array:
    """The loss of PPO for each token: $-min(ratio A, clip(ratio, 1 - clip, 1 + clip) A)$, $ratio = p / p_old$.

    A token that has become likelier by more than the clip gets no gradient that would make it likelier still, and in
    the same way for tokens with a negative advantage.

    Args:
        log_probs: `[...]`, of the tokens that were drawn, by the policy that learns.
        old_log_probs: `[...]`, by the policy that drew them.
        advantages: `[...]`, of each token; one number an answer is broadcast by the caller:
            `jnp.broadcast_to(advantages[:, None], log_probs.shape)`.
        clip: how far the ratio may go from 1 with a gradient; a pair is (below, above).

    Returns:
        `[...]`, one number a token, whose gradient is that of `log_probs` alone.

    Raises:
        ValueError: if the shapes differ, or a clip is negative.
        TypeError: if the log-probabilities are not floating point.

    Example:
        >>> old = jnp.log(jnp.array([0.5, 0.5, 0.5]))
        >>> new = jnp.log(jnp.array([0.55, 0.9, 0.9]))  # ratios 1.1, 1.8, 1.8
        >>> [f"{value:.1f}" for value in clipped_policy_loss(new, old, jnp.array([1.0, 1.0, -1.0]))]
        ['-1.1', '-1.2', '1.8']

    Reference:
        Schulman et al., Proximal policy optimization algorithms, 2017; Williams, Simple statistical gradient-following
        algorithms for connectionist reinforcement learning, 1992 (REINFORCE). Two clips: Yu et al., DAPO, 2025.
    """
    below, above = clip if isinstance(clip, tuple) else (clip, clip)
    if not (below >= 0 and above >= 0):
        raise ValueError(f"clipped_policy_loss: clip must not be negative, got {clip}")
    below, above = float(below), float(above)
    new = floating("clipped_policy_loss", "log_probs", log_probs)
    old = like("clipped_policy_loss", "old_log_probs", old_log_probs, new, "log_probs")
    scale = jax.lax.stop_gradient(like("clipped_policy_loss", "advantages", advantages, new, "log_probs"))
    change = new - jax.lax.stop_gradient(old)
    # Where the clip decides there is no gradient; the ratio itself may overflow, and infinity times 0 is NaN.
    beyond = (scale >= 0) & (change > math.log1p(above))
    ratio = jnp.where(beyond, 1 + above, jnp.exp(jnp.where(beyond, 0, change)))
    return -jnp.minimum(ratio * scale, jnp.clip(ratio, 1 - below, 1 + above) * scale)


def reference_kl(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> Array:
    """Estimate $KL(p || p_reference)$ from drawn tokens: $exp(d) - d - 1$ with $d = log p_reference - log p$.

    Its mean over tokens drawn from p is the divergence, and no single value is negative, unlike those of -d, which
    has the same mean.

    Args:
        log_probs: `[...]`, of the tokens that were drawn, by the policy that learns.
        reference_log_probs: `[...]`, by the policy it is to stay close to.

    Returns:
        `[...]`, one number a token, whose gradient is that of `log_probs` alone.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the log-probabilities are not floating point.

    Example:
        >>> estimates = reference_kl(jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.5, 0.25])))
        >>> [f"{value:.3f}" for value in estimates]  # 0 and 0.5 - log(0.5) - 1
        ['0.000', '0.193']

    Reference:
        Schulman, Approximating KL divergence, 2020, where it is called k3; Shao et al., DeepSeekMath, 2024.

    Warning:
        `jaxnets.losses.kl_divergence` is the exact sum over all tokens, from logits.
    """
    new = floating("reference_kl", "log_probs", log_probs)
    reference = like("reference_kl", "reference_log_probs", reference_log_probs, new, "log_probs")
    difference = jax.lax.stop_gradient(reference) - new
    return jnp.expm1(difference) - difference
