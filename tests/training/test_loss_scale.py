"""Loss scaling for float16, against float32 and against PyTorch's `GradScaler` rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, nn
from jaxnets.data import augment
from jaxnets.training import (
    Checkpoints,
    TrainState,
    compute_in,
    fit,
    in_evaluation,
    init_train_state,
    make_step,
    supervised,
    with_ema,
    with_loss_scale,
)
from jaxnets.tree import fingerprint
from tests.oracles import assert_close, normal, permissive_optimizer

SGD = permissive_optimizer(optax.sgd(1.0))


def apply(params, state, x, *, key=None, train):
    return nn.linear(params, x)[:, 0], state


MODEL = make_model(nn.linear_spec(2, 1), apply)
X, Y = normal(64, 2, seed=1), normal(64, seed=2)


def small(params, state, batch, *, key, train):
    """A loss whose gradient is the sum of the squares of the batch's rows, 1e-8 each, less than float16 has."""
    half = batch.astype(jnp.float16)
    return jnp.sum((params["w"].astype(jnp.float16)[None] * half * half).astype(jnp.float32)), (state, {})


def begin(optimizer):
    params = {"w": jnp.zeros(2)}
    return TrainState.create(params, optimizer.init(params), seed=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_too_small_for_float16_survive(accumulate):
    moved = {}
    for name, optimizer in {"plain": SGD, "scaled": with_loss_scale(SGD)}.items():
        after, _ = jax.jit(make_step(small, optimizer, accumulate=accumulate))(begin(optimizer), jnp.full((2, 2), 1e-4))
        moved[name] = -np.asarray(after.params["w"])
    exact = np.float64(np.float16(1e-4)) ** 2 * (2 / accumulate)  # a sum over two rows, or the mean of those of one
    np.testing.assert_array_equal(moved["plain"], 0)
    np.testing.assert_allclose(moved["scaled"], exact, rtol=2e-3)


def test_the_scale_follows_the_rule_of_grad_scaler():
    torch = pytest.importorskip("torch")
    optimizer = with_loss_scale(SGD, initial=8.0, growth_steps=3)
    state = optimizer.init({"w": jnp.zeros(1)})
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    weight = torch.nn.Parameter(torch.zeros(1))
    theirs = torch.optim.SGD([weight], 1.0)
    params = jnp.zeros(1)
    for gradient in [1.0, 1.0, 1.0, np.inf, 1.0, np.nan, np.inf, 1.0, 1.0, 1.0, 1.0]:
        updates, state = optimizer.update({"w": jnp.array([gradient])}, state)
        params = params + updates["w"]
        theirs.zero_grad()
        scaler.scale((weight * gradient).sum()).backward()
        scaler.step(theirs)
        scaler.update()
        assert float(state.scale) == scaler.get_scale()
        np.testing.assert_allclose(params, weight.detach().numpy())


def test_training_in_float16_comes_near_float32_and_warns_without_a_scale():
    moved = {}
    for name, model, optimizer in (
        ("float32", MODEL, SGD),
        ("scaled", compute_in(jnp.float16, MODEL), with_loss_scale(SGD)),
        ("plain", compute_in(jnp.float16, MODEL), SGD),
    ):
        loss = supervised(model, lambda outputs, targets: 1e-7 * losses.squared_error(outputs, targets))
        train_state = init_train_state(MODEL, optimizer, 0)
        train_state = train_state._replace(params=jax.tree.map(jnp.zeros_like, train_state.params))
        step = make_step(loss, optimizer)
        if name == "plain":
            with pytest.warns(UserWarning, match=r"float16 has no numbers below 6e-8, .* with_loss_scale"):
                train_state, _ = step(train_state, (X, Y))
        else:
            train_state, _ = step(train_state, (X, Y))
        moved[name] = np.asarray(train_state.params["kernel"])
    assert np.abs(moved["float32"]).max() > 0
    np.testing.assert_allclose(moved["scaled"], moved["float32"], rtol=0.02)
    assert np.abs(moved["plain"] - moved["float32"]).max() > 0.5 * np.abs(moved["float32"]).max()


def test_a_step_that_overflows_is_left_out_and_the_run_goes_on_also_after_a_stop(tmp_path):
    def overflowing(params, state, batch, *, key, train):
        # float16 by `reduce_precision`: XLA leaves conversions to float16 and back out on GPU, where nothing overflows
        half = jax.lax.reduce_precision(params["w"], exponent_bits=5, mantissa_bits=10)
        return jnp.sum(half * jnp.mean(batch, axis=0)), (state, {})

    optimizer = with_ema(with_loss_scale(SGD, initial=2.0**17, growth_steps=4), 0.9)

    def go(folder, epochs):
        checkpoints = Checkpoints(tmp_path / folder, best=None)
        step, data = make_step(overflowing, optimizer), np.ones((8, 2), np.float32)
        return fit(begin(optimizer), step, data, epochs=epochs, batch_size=4, checkpoints=checkpoints)

    whole = go("whole", 4)
    go("parts", 1)
    assert fingerprint(go("parts", 4).train_state) == fingerprint(whole.train_state)
    # Of the eight steps two overflow, at 2^17 and 2^16: float16 ends at 65,504. Four at 2^15 double the scale again, to
    # 2^16, where the seventh overflows; so does none of the eighth, at 2^15. Each of the five others moves w by -1.
    np.testing.assert_array_equal(whole.train_state.params["w"], -5)
    assert float(whole.train_state.opt_state.inner.scale) == 2.0**15
    assert int(whole.train_state.step) == 8


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="initial must be at least 1, got 0"):
        with_loss_scale(SGD, initial=0)
    with pytest.raises(ValueError, match="growth_steps must be an integer of at least 1, got 0"):
        with_loss_scale(SGD, growth_steps=0)


def test_it_changes_nothing_in_float32():
    optimizer = with_loss_scale(SGD, initial=2.0**10)  # a power of two scales without rounding
    loss = supervised(MODEL, losses.squared_error)
    plain, _ = jax.jit(make_step(loss, SGD))(init_train_state(MODEL, SGD, 0), (X, Y))
    scaled, _ = jax.jit(make_step(loss, optimizer))(init_train_state(MODEL, optimizer, 0), (X, Y))
    assert_close(scaled.params, plain.params, rtol=1e-6, atol=1e-7)


def test_the_scale_does_not_grow_to_infinity_where_it_would_stay():
    """As PyTorch's `GradScaler`: half of infinity is infinity, so every further step would be left out."""
    optimizer = with_loss_scale(optax.sgd(1.0), initial=2.0**127, growth_steps=1)
    _, state = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
    assert state.scale == 2.0**127


def test_without_parameters_there_is_nothing_to_scale():
    optimizer = with_loss_scale(optax.sgd(1.0))
    assert optimizer.update({}, optimizer.init({}))[0] == {}


@pytest.mark.parametrize("wrap", ["augmented", "in_evaluation"])
def test_float16_is_seen_through_what_wraps_a_loss_or_model(wrap):
    def apply(params, state, x, *, key=None, train):
        return nn.linear(params["fc"], x), state

    half = compute_in(jnp.float16, make_model({"fc": nn.linear_spec(2, 1)}, apply))
    if wrap == "in_evaluation":
        loss = supervised(in_evaluation(half, "fc"), losses.squared_error)
    else:
        loss = augment.augmented(supervised(half, losses.squared_error))
    optimizer = permissive_optimizer(optax.sgd(0.1))
    begin, batch = init_train_state(half, optimizer, 0), (jnp.ones((8, 2)), jnp.ones((8, 1)))
    with pytest.warns(UserWarning, match="float16"):
        jax.eval_shape(make_step(loss, optimizer), begin, batch)
