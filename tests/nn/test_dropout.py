"""The forms of dropout: how much they drop, what they drop together, and that the two forms agree in expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch

from jaxnets import init, nn
from tests.forms import float64
from tests.oracles import assert_close, normal

KEY = jax.random.key(0)
FORMS = [nn.dropout, nn.classic_dropout, nn.spatial_dropout, nn.drop_path]
every_form = pytest.mark.parametrize("drop", FORMS, ids=lambda f: f.__name__)


def assert_binomial(dropped, rate):
    """The count of independent drops lies where a binomial count lies all but once in a million times."""
    low, high = scipy.stats.binom.interval(1 - 1e-6, dropped.size, rate)
    assert low <= dropped.sum() <= high


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("drop", "shape"),
    [(nn.dropout, (100, 400)), (nn.classic_dropout, (100, 400)), (nn.spatial_dropout, (100, 2, 1, 400))],
)
def test_as_many_are_dropped_as_the_rate_says(drop, shape, rate):
    dropped = np.asarray(drop(jnp.ones(shape), rate, key=KEY, train=True)) == 0
    dropped = dropped.reshape((100, -1, 400))[:, 0]
    assert_binomial(dropped, rate)
    # Independent along both axes: the counts of rows and of columns spread as binomial counts do.
    for axis in (0, 1):
        counts = dropped.sum(axis)
        spread = np.var(counts) / (dropped.shape[axis] * rate * (1 - rate))
        low, high = scipy.stats.chi2.interval(1 - 1e-6, counts.size - 1)
        assert low <= spread * counts.size <= high


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_neighbors_are_dropped_independently(rate):
    """Two neighbors share the 32 bits of one draw."""
    dropped = np.asarray(nn.dropout(jnp.ones((200, 401)), rate, key=KEY, train=True)) == 0
    assert_binomial(dropped[:, :-1:2] & dropped[:, 1::2], rate**2)
    assert_binomial(dropped[:, 1::2] & dropped[:, 2::2], rate**2)
    assert_binomial(dropped[:, -1], rate)


@every_form
@pytest.mark.parametrize("shape", [(3, 0, 2), (0, 3, 2), (3, 2, 0)])
def test_nothing_to_drop(drop, shape):
    assert drop(jnp.ones(shape), 0.5, key=KEY, train=True).shape == shape


def test_one_number_is_dropped_as_often_as_the_rate_says():
    keys = jax.random.split(KEY, 40000)
    dropped = jax.vmap(lambda key: nn.dropout(jnp.float32(1), 0.3, key=key, train=True))(keys) == 0
    assert_binomial(np.asarray(dropped), 0.3)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_drop_path_drops_as_many_examples_as_the_rate_says(rate):
    dropped = np.asarray(nn.drop_path(jnp.ones((40000, 2)), rate, key=KEY, train=True)) == 0
    assert np.all(dropped[:, 0] == dropped[:, 1])
    assert_binomial(dropped[:, 0], rate)


@pytest.mark.parametrize("drop", [nn.dropout, nn.spatial_dropout, nn.drop_path], ids=lambda f: f.__name__)
def test_value_and_gradient_are_the_mask_over_one_minus_rate(drop):
    x = jnp.asarray(normal(6, 2, 3, 4))
    y, pull_back = jax.vjp(lambda x: drop(x, 0.3, key=KEY, train=True), x)
    mask = np.asarray(y) != 0
    assert 0 < mask.mean() < 1
    assert_close(y, mask * np.asarray(x) / 0.7, rtol=1e-6, atol=0)
    cotangent = normal(6, 2, 3, 4, seed=1)
    assert_close(pull_back(jnp.asarray(cotangent))[0], mask * cotangent / 0.7, rtol=1e-6, atol=0)


def test_the_two_forms_are_equal_in_expectation():
    """Each form's training mean is its own application; the forms differ by the factor 1 - rate alone."""
    x, rate, draws = jnp.asarray(1 + normal(50) ** 2), 0.3, 20000
    keys = jax.random.split(KEY, draws)
    means = {
        drop: np.asarray(jax.vmap(lambda key, drop=drop: drop(x, rate, key=key, train=True))(keys), np.float64).mean(0)
        for drop in (nn.dropout, nn.classic_dropout)
    }
    # Six standard errors of the mean of `draws` Bernoulli variables.
    error = 6 * np.sqrt(rate * (1 - rate) / draws) * np.asarray(x)
    for drop, mean in means.items():
        assert np.all(np.abs(mean - drop(x, rate, train=False)) <= error / (1 - rate))
    assert np.all(np.abs(means[nn.classic_dropout] - (1 - rate) * means[nn.dropout]) <= 2 * error)
    assert_close(nn.classic_dropout(x, rate, train=False), (1 - rate) * nn.dropout(x, rate, train=False), rtol=1e-6)


def test_the_two_forms_give_a_linear_network_the_same_mean_output():
    """With weights after it, w and w / (1 - rate), training and application agree between the forms exactly."""
    x, weights, rate = jnp.asarray(normal(4, 50)), jnp.asarray(normal(50, 2, seed=1)), 0.3
    for train in (True, False):
        inverted = nn.dropout(x, rate, key=KEY, train=train) @ weights
        classic = nn.classic_dropout(x, rate, key=KEY, train=train) @ (weights / (1 - rate))
        assert_close(classic, inverted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_spatial_dropout_has_the_structure_of_torch(spatial):
    """Whole channels, each example its own, survivors divided by 1 - rate: in both libraries."""
    shape = (30, *[3] * spatial, 20)
    ours = np.asarray(nn.spatial_dropout(jnp.ones(shape), 0.4, key=KEY, train=True))
    module = getattr(torch.nn, f"Dropout{spatial}d")(0.4).train()
    torch.manual_seed(0)
    theirs = torch.movedim(module(torch.movedim(torch.ones(shape), -1, 1)), 1, -1).numpy()
    for y in (ours, theirs):
        positions = y.reshape((30, -1, 20))
        assert np.all(positions == positions[:, :1])
        np.testing.assert_allclose(np.unique(y), [0, 1 / 0.6], rtol=1e-6)
        assert len(np.unique(positions[:, 0], axis=0)) > 25
        assert_binomial(positions[:, 0] == 0, 0.4)


@every_form
@pytest.mark.parametrize("traced", [False, True])
def test_rates_zero_and_one_are_exact_with_finite_gradients(drop, traced):
    x = jnp.asarray(normal(4, 3, 5))

    def value_and_gradient(rate):
        y, pull_back = jax.vjp(lambda x: drop(x, rate, key=KEY, train=True), x)
        return y, pull_back(jnp.ones_like(x))[0]

    if traced:
        value_and_gradient = jax.jit(value_and_gradient)
    assert_close(value_and_gradient(0.0), (x, np.ones_like(x)), rtol=0, atol=0)
    assert_close(value_and_gradient(1.0), (np.zeros_like(x), np.zeros_like(x)), rtol=0, atol=0)


@every_form
def test_vmap_over_rates_equals_a_loop(drop):
    x, rates = jnp.asarray(normal(4, 3, 5)), [0.0, 0.2, 0.7, 1.0]
    mapped = jax.vmap(lambda rate: drop(x, rate, key=KEY, train=True))(jnp.array(rates))
    assert_close(mapped, jnp.stack([drop(x, rate, key=KEY, train=True) for rate in rates]), rtol=1e-6, atol=0)


@every_form
def test_every_dtype_drops_the_same(drop):
    with float64():
        x = jnp.asarray(1 + normal(20, 3, 5) ** 2, jnp.bfloat16)
        low, single, double = (
            np.asarray(drop(x.astype(dtype), 0.1, key=KEY, train=True), np.float64)
            for dtype in (jnp.bfloat16, jnp.float32, jnp.float64)
        )
    np.testing.assert_allclose(single, double, rtol=1e-6)
    # Rounded once, at the end: multiplying by a rounded 1 / (1 - rate) would be further off.
    np.testing.assert_allclose(low, double, rtol=2**-8)


@every_form
def test_missing_key_is_an_error_only_where_one_is_needed(drop):
    x = jnp.ones((2, 3, 4))
    with pytest.raises(
        ValueError, match=f"{drop.__name__}: training with rate > 0 needs a random key; pass key=subkey"
    ):
        drop(x, 0.5, train=True)
    with pytest.raises(ValueError, match="needs a random key"):
        jax.jit(lambda rate: drop(x, rate, train=True))(0.5)
    assert_close(drop(x, 0.0, train=True), x, rtol=0, atol=0)
    drop(x, 0.5, train=False)


@every_form
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("train", [True, False])
def test_rate_outside_zero_to_one_is_an_error(drop, rate, train):
    with pytest.raises(ValueError, match=rf"{drop.__name__}: rate is the probability to drop and must be in \[0, 1\]"):
        drop(jnp.ones((2, 3, 4)), rate, key=KEY, train=train)


def test_wrong_inputs_are_errors():
    with pytest.raises(ValueError, match=r"must be \[batch, \*spatial, channels\], got x \[2, 3\]; use dropout"):
        nn.spatial_dropout(jnp.ones((2, 3)), 0.5, key=KEY, train=True)
    with pytest.raises(ValueError, match=r"drop_path: x must be \[batch, ...\], got a scalar"):
        nn.drop_path(jnp.float32(1), 0.5, key=KEY, train=True)
    for drop in FORMS:
        with pytest.raises(TypeError, match="must be floating point, got int32"):
            drop(jnp.ones((2, 3, 4), jnp.int32), 0.5, key=KEY, train=True)


def test_a_traced_flag_and_an_array_of_rates_are_refused_with_advice():
    x, key = jnp.ones(2), jax.random.key(0)
    with pytest.raises(TypeError, match=r"dropout: train must be True or False, got a traced array.*static_argnames"):
        jax.jit(lambda train: nn.dropout(x, 0.5, key=key, train=train))(True)
    params, state = init(nn.batch_norm_spec(2), key)
    with pytest.raises(TypeError, match="batch_norm: train must be True or False"):
        jax.jit(lambda train: nn.batch_norm(params, state, jnp.ones((2, 2)), train=train))(True)
    with pytest.raises(ValueError, match=r"dropout: rate .* must be one number, got \[2\]; .* jax.vmap"):
        nn.dropout(x, jnp.array([0.5, 0.1]), key=key, train=True)
