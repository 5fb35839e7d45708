"""The perceptron's rule against the lecture's words and scikit-learn, and what the theorems say of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Perceptron

from jaxnets.models import PerceptronConfig, perceptron, perceptron_fit, perceptron_path, perceptron_rule

XOR = jnp.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), jnp.array([0, 1, 1, 0])


def separable(seed, examples=60, features=4, margin=0.1):
    """Points of length 1 at most, with their labels and a unit vector that separates them by at least the margin."""
    generator = np.random.default_rng(seed)
    direction = generator.normal(size=features)
    direction /= np.linalg.norm(direction)
    x = generator.normal(size=(20 * examples, features))
    x /= np.linalg.norm(x, axis=1).max()
    x = x[np.abs(x @ direction) > margin][:examples]
    return jnp.asarray(x, jnp.float32), jnp.asarray(x @ direction > 0, jnp.float32), direction


@pytest.mark.parametrize("w", [(1.0, 0.5), (-1.0, 0.5), (1.0, -2.0)])
@pytest.mark.parametrize("label", [0, 1])
def test_the_rule_is_the_lectures(w, label):
    """If x in P and <w, x> < 0: w += x; if x in N and <w, x> >= 0: w -= x. The last w lies on the threshold."""
    x, expected = np.array([2.0, 1.0]), np.array(w)
    if label == 1 and expected @ x < 0:
        expected = expected + x
    elif label == 0 and expected @ x >= 0:
        expected = expected - x
    params, corrected = perceptron_rule({"kernel": jnp.array(w)[:, None]}, jnp.asarray(x, jnp.float32), label)
    assert params["kernel"].ravel().tolist() == expected.tolist()
    assert bool(corrected) == (tuple(expected) != w)


def test_an_epoch_in_order_is_scikit_learns():
    x, labels, _ = separable(0, margin=0.0)
    start = np.random.default_rng(1).normal(size=(4,)).astype(np.float32)
    params = {"kernel": jnp.asarray(start)[:, None]}
    for row, label in zip(x, labels, strict=True):
        params, _ = perceptron_rule(params, row, label)
    theirs = Perceptron(fit_intercept=False, shuffle=False, max_iter=1, tol=None)
    theirs.fit(np.asarray(x), np.asarray(labels), coef_init=start.copy())  # which it changes in place
    assert np.abs(theirs.coef_[0] - start).max() > 0.1
    np.testing.assert_allclose(params["kernel"][:, 0], theirs.coef_[0], rtol=1e-4)


def test_the_mistakes_from_zero_keep_novikoffs_bound_in_every_order():
    x, labels, direction = separable(2)
    signed = np.where(labels == 1, 1, -1)[:, None] * np.asarray(x)
    bound = (np.linalg.norm(x, axis=1).max() / (signed @ direction).min()) ** 2
    fit = functools.partial(perceptron_fit, {"kernel": jnp.zeros((4, 1))}, x, labels, max_picks=100_000)
    learned = jax.jit(jax.vmap(lambda key: fit(key=key)))(jax.random.split(jax.random.key(0), 50))
    assert np.asarray(learned.converged).all()
    assert 1 < int(learned.mistakes.max()) <= bound
    assert len(np.unique(learned.picks)) > 5
    sums = np.einsum("nf,of->on", signed, np.asarray(learned.params["kernel"])[..., 0])
    assert (sums >= 0).all()


def test_the_path_is_what_fit_goes_until_all_are_right():
    x, labels, _ = separable(3)
    key, start = jax.random.key(5), {"kernel": jnp.ones((4, 1))}
    learned = perceptron_fit(start, x, labels, key=key, max_picks=100_000)
    picks = int(learned.picks)
    params, mistakes = perceptron_path(start, x, labels, key=key, picks=picks + 50)
    np.testing.assert_array_equal(params["kernel"][picks - 1], learned.params["kernel"])
    assert int(mistakes[:picks].sum()) == int(learned.mistakes)
    assert bool(mistakes[picks - 1])
    assert not mistakes[picks:].any()
    before = {"kernel": params["kernel"][picks - 2]}
    outputs, _ = perceptron(PerceptronConfig(4)).apply(before, {}, x, train=False)
    assert (outputs != labels).any()


def test_every_example_is_picked_as_often():
    """Weights that make every pick a mistake: x is a unit vector, so that the sum of w tells the picks."""
    x = jnp.eye(5)
    params, _ = perceptron_path(
        {"kernel": jnp.full((5, 1), 10_000.0)}, x, jnp.zeros(5), key=jax.random.key(1), picks=4000
    )
    counts = 10_000 - np.asarray(params["kernel"][-1, :, 0])
    assert counts.sum() == 4000
    # Five standard deviations of a count.
    assert np.all(np.abs(counts - 800) < 5 * np.sqrt(4000 * 0.2 * 0.8))


def test_xor_is_never_learned_and_the_weights_stay_bounded():
    start, key = {"kernel": jnp.zeros((3, 1))}, jax.random.key(0)
    learned = perceptron_fit(start, *XOR, key=key, max_picks=5000)
    assert int(learned.picks) == 5000
    assert not learned.converged
    params, mistakes = perceptron_path(start, *XOR, key=key, picks=5000)
    assert int(mistakes[-500:].sum()) > 100
    assert float(jnp.abs(params["kernel"]).max()) <= 4


def test_nothing_is_picked_if_all_are_right_at_the_start():
    x = jnp.array([[1.0], [-1.0]])
    learned = perceptron_fit({"kernel": jnp.ones((1, 1))}, x, jnp.array([1, 0]), key=jax.random.key(0), max_picks=9)
    assert (int(learned.picks), int(learned.mistakes), bool(learned.converged)) == (0, 0, True)


def test_wrong_inputs_are_refused():
    params, key = {"kernel": jnp.zeros((3, 1))}, jax.random.key(0)
    with pytest.raises(ValueError, match=r"x must be one example \[features\], got \[4, 3\]"):
        perceptron_rule(params, XOR[0], 1)
    with pytest.raises(ValueError, match=r"labels \[examples\], got \[4, 3\] and \[4, 1\]"):
        perceptron_fit(params, XOR[0], XOR[1][:, None], key=key, max_picks=5)
    with pytest.raises(ValueError, match="last axis must be 3"):
        perceptron_path(params, XOR[0][:, :2], XOR[1], key=key, picks=5)
    with pytest.raises(TypeError, match="x must be floating point"):
        perceptron_path(params, XOR[0].astype(jnp.int32), XOR[1], key=key, picks=5)
