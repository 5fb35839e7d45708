"""Regularizers against PyTorch: what enters the loss, what the optimizer decays, and what neither touches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxnets import init, nn, regularizers, repeat_spec
from jaxnets.tree import paths
from tests.forms import float64
from tests.layer_table import CASES
from tests.oracles import assert_close, normal, permissive_promotion
from tests.torch_oracle import assert_parity, to_torch

PARAMS = {
    "fc": {"kernel": normal(3, 4), "bias": normal(4, seed=1)},
    "norm": {"scale": normal(4, seed=2), "bias": normal(4, seed=3)},
    "blocks": [{"kernel": normal(2, 4, 4, seed=4), "bias": normal(2, 4, seed=5)}],
}
DECAYED = {"fc/kernel", "blocks/0/kernel"}

NOT_DECAYED = {
    "bias",
    "hidden_bias",
    "forget_bias",
    "scale",
    "log_scale",
    "slope",
    "class_token",
    "positions",
    "magnitude",
}
DECAYED_WORDS = ("kernel", "embedding", "score", "direction")
"""The names of the layers' parameters: one that is on neither list must be decided on."""


def loss(params, x):
    """Some function of all parameters."""
    h = jnp.tanh(x @ params["fc"]["kernel"] + params["fc"]["bias"][None])
    h = h * params["norm"]["scale"][None] + params["norm"]["bias"][None]
    for i in range(2):
        h = jnp.tanh(h @ params["blocks"][0]["kernel"][i] + params["blocks"][0]["bias"][i][None])
    return jnp.sum(h**2)


def torch_loss(params, x):
    h = torch.tanh(x @ params["fc"]["kernel"] + params["fc"]["bias"])
    h = h * params["norm"]["scale"] + params["norm"]["bias"]
    for i in range(2):
        h = torch.tanh(h @ params["blocks"][0]["kernel"][i] + params["blocks"][0]["bias"][i])
    return (h**2).sum()


def test_mask_of_a_tree():
    mask = paths(regularizers.decay_mask(PARAMS))
    assert {path for path, decays in mask.items() if decays} == DECAYED
    assert all(isinstance(decays, bool) for decays in mask.values())


def test_mask_of_stacked_blocks_is_that_of_one_block():
    spec = {"fc": nn.linear_spec(3, 3)}
    one, stacked = init(spec, jax.random.key(0))[0], init(repeat_spec(spec, 5), jax.random.key(0))[0]
    assert stacked["fc"]["bias"].ndim == 2
    assert regularizers.decay_mask(stacked) == regularizers.decay_mask(one)


def test_mask_goes_by_the_last_name():
    params = {"scale": {"kernel": normal(2)}, "bias": [normal(2)], "embedding": normal(2), "steps": np.arange(3)}
    expected = {"scale": {"kernel": True}, "bias": [False], "embedding": True, "steps": False}
    assert regularizers.decay_mask(params) == expected
    assert regularizers.decay_mask(normal(3)) is True


def test_mask_of_every_layer():
    for case in CASES:
        params = jax.eval_shape(lambda c=case: init(c.spec, jax.random.key(0))[0])
        for path, decays in paths(regularizers.decay_mask(params)).items():
            name = [part for part in path.split("/") if not part.isdigit()][-1]
            assert decays == (name not in NOT_DECAYED), f"{case.name}: {path}"
            assert not decays or any(word in name for word in DECAYED_WORDS), f"{case.name}: does {path} decay?"


@pytest.mark.parametrize("function", [regularizers.decay_mask, regularizers.decay_mask(PARAMS)])
def test_decoupled_decay_equals_torch_adamw_with_two_groups(function):
    optimizer = optax.adamw(0.02, weight_decay=0.3, mask=function)
    tensors = to_torch(PARAMS, requires_grad=True)
    groups = [
        {"params": [t for path, t in paths(tensors).items() if path in DECAYED], "weight_decay": 0.3},
        {"params": [t for path, t in paths(tensors).items() if path not in DECAYED], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, lr=0.02)
    params = jax.tree.map(jnp.asarray, PARAMS)
    opt_state = optimizer.init(params)

    @jax.jit
    def train(params, opt_state, x):
        updates, opt_state = optimizer.update(jax.grad(loss)(params, x), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    for step in range(8):
        x = normal(5, 3, seed=step)
        with permissive_promotion():
            params, opt_state = train(params, opt_state, x)
        theirs.zero_grad()
        torch_loss(tensors, torch.tensor(x)).backward()
        theirs.step()
        assert_close(params, tensors, rtol=1e-4, atol=1e-5, what=f"step {step}")


def test_decay_on_the_loss_equals_torch_sgd_with_half_the_factor():
    tensors = to_torch(PARAMS, requires_grad=True)
    groups = [
        {"params": [t for path, t in paths(tensors).items() if path in DECAYED], "weight_decay": 2 * 0.1},
        {"params": [t for path, t in paths(tensors).items() if path not in DECAYED], "weight_decay": 0.0},
    ]
    theirs = torch.optim.SGD(groups, lr=0.05)

    @jax.jit
    def train(params, x):
        gradients = jax.grad(lambda p: loss(p, x) + 0.1 * regularizers.weight_decay(p))(params)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradients)

    params = jax.tree.map(jnp.asarray, PARAMS)
    for step in range(5):
        x = normal(5, 3, seed=step)
        params = train(params, x)
        theirs.zero_grad()
        torch_loss(tensors, torch.tensor(x)).backward()
        theirs.step()
    assert_close(params, tensors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(regularizers.weight_decay, torch.square), (regularizers.l1_penalty, torch.abs)],
    ids=["weight_decay", "l1_penalty"],
)
def test_penalties_equal_torch(ours, theirs):
    params = {"fc": {"kernel": np.array([[1.5, 0.0, -2.0]], np.float32), "bias": normal(3)}}
    assert_parity(ours, lambda p: theirs(p["fc"]["kernel"]).sum(), params)
    everything = jax.tree.map(lambda _: True, params)
    assert_parity(
        lambda p: ours(p, mask=everything),
        lambda p: theirs(p["fc"]["kernel"]).sum() + theirs(p["fc"]["bias"]).sum(),
        params,
    )


@pytest.mark.parametrize("penalty", [regularizers.weight_decay, regularizers.l1_penalty])
def test_penalties_are_summed_in_float32_at_least(penalty):
    low = {"kernel": jnp.full((100, 100), 0.5, jnp.bfloat16), "mask": np.arange(3)}
    expected = {regularizers.weight_decay: 2500.0, regularizers.l1_penalty: 5000.0}[penalty]
    assert penalty(low).dtype == jnp.float32
    assert float(penalty(low)) == expected
    assert float(penalty({"bias": normal(3)})) == 0.0
    with float64():
        mixed = {"a_kernel": jnp.full(3, 0.5, jnp.float64), "b_kernel": jnp.full(3, 0.5, jnp.float32)}
        assert penalty(mixed).dtype == jnp.float64


def test_mask_of_another_structure_is_refused():
    with pytest.raises(ValueError, match="weight_decay: the mask must be a bool for each parameter"):
        regularizers.weight_decay(PARAMS, mask={"fc": True})


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2,)])
def test_entropy_and_confidence_penalty_equal_torch(shape):
    logits = 3 * normal(*shape)

    def theirs(x):
        return torch.distributions.Categorical(logits=x).entropy()

    assert_parity(regularizers.entropy, theirs, logits)
    assert_parity(regularizers.confidence_penalty, lambda x: -theirs(x), logits)


def test_confidence_penalty_makes_predictions_less_sure():
    """The sign of the literature, not of the slide: descending the penalty raises the entropy."""
    logits = normal(4, 3)
    lower = logits - 0.1 * jax.grad(lambda x: regularizers.confidence_penalty(x).sum())(logits)
    assert bool(jnp.all(regularizers.entropy(lower) > regularizers.entropy(logits)))
    sure, unsure = jnp.array([50.0, 0.0]), jnp.zeros(2)
    assert regularizers.confidence_penalty(sure) > regularizers.confidence_penalty(unsure)


def test_entropy_of_excluded_classes_and_of_certainty_is_finite():
    logits = jnp.array([[1.0, 2.0, -jnp.inf], [500.0, 0.0, 0.0]])
    value, slope = jax.value_and_grad(lambda x: regularizers.entropy(x).sum())(logits)
    expected = regularizers.entropy(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(slope)))


def test_entropy_of_bfloat16_is_float32():
    low = jnp.asarray(normal(4, 3), jnp.bfloat16)
    assert regularizers.entropy(low).dtype == jnp.float32
    np.testing.assert_array_equal(regularizers.entropy(low), regularizers.entropy(low.astype(jnp.float32)))
    with pytest.raises(TypeError, match="entropy: logits must be floating point, got int32"):
        regularizers.entropy(jnp.ones((2, 3), jnp.int32))


@pytest.mark.parametrize(("axis", "dim"), [(0, 1), (1, 0)])
def test_max_norm_is_torchs_renorm_of_what_the_optimizer_makes(axis, dim):
    """`torch.renorm` bounds the norm of each slice along `dim`: over all other axes."""
    params, gradient = normal(5, 4), 3 * normal(5, 4, seed=1)
    plain, bounded = optax.sgd(0.5), optax.chain(optax.sgd(0.5), regularizers.max_norm(2.0, axis=axis))
    after = [optax.apply_updates(params, o.update(gradient, o.init(params), params)[0]) for o in (plain, bounded)]
    expected = torch.renorm(torch.tensor(np.asarray(after[0])), 2, dim, 2.0).numpy()
    assert not np.allclose(after[0], expected)
    np.testing.assert_allclose(after[1], expected, rtol=1e-5)
    assert (np.linalg.norm(after[1], axis=axis) <= 2 * (1 + 1e-6)).all()


def test_max_norm_errors():
    with pytest.raises(ValueError, match="the limit must be positive, got 0"):
        regularizers.max_norm(0)
    bound = regularizers.max_norm(1.0)
    with pytest.raises(ValueError, match=r"needs the parameters: optimizer.update\(gradients, opt_state, params\)"):
        bound.update(normal(2), bound.init(normal(2)))


def test_max_norm_leaves_a_kernel_of_zeros_alone():
    bound, zeros = regularizers.max_norm(1.0), jnp.zeros((2, 2))
    np.testing.assert_array_equal(bound.update(zeros, bound.init(zeros), zeros)[0], zeros)


@pytest.mark.parametrize(
    ("dtype", "value", "count", "limit"),
    [(jnp.float16, 300.0, 4, 1.0), (jnp.float16, 2e-4, 10**6, 0.1), (jnp.bfloat16, 0.3, 1000, 1.0)],
    ids=["squares overflow", "squares underflow", "long sum"],
)
def test_norms_of_half_precision_are_those_of_float64(dtype, value, count, limit):
    params = jnp.full((count, 1), value, dtype)
    optimizer = regularizers.max_norm(limit)
    updates, _ = optimizer.update(jnp.zeros_like(params), optimizer.init(params), params)
    after = np.asarray(optax.apply_updates(params, updates), np.float64)
    assert updates.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(after), limit, rtol=4 * float(jnp.finfo(dtype).eps))


def test_a_parameter_without_the_axis_is_named():
    params = {"head": {"log_scale": jnp.zeros(())}}
    with pytest.raises(ValueError, match=r"max_norm: axis 0 is not an axis of 'head/log_scale' \[\]; leave it out"):
        regularizers.max_norm(1.0).update(params, optax.EmptyState(), params)
