"""The usual loss against PyTorch's, with and without weights, and what it says to mistakes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from jaxnets import losses, make_model, metrics, nn
from jaxnets.training import fit, init_train_state, make_evaluate, make_step, supervised
from tests.oracles import normal, permissive_optimizer

torch = pytest.importorskip("torch")


def apply(params, state, x, *, key=None, train):
    return nn.linear(params, x), state


MODEL = make_model(nn.linear_spec(4, 3), apply)
OPTIMIZER = permissive_optimizer(optax.sgd(0.5))
TOKENS = normal(8, 5, 4)
IGNORED = np.random.default_rng(1).random((8, 5)) < np.linspace(0, 0.95, 8)[:, None]
LABELS = np.where(IGNORED, -100, np.random.default_rng(0).integers(0, 3, (8, 5)))


def torch_step(targets, weights=None):
    """One step of PyTorch's SGD from our initial parameters, and the loss before it."""
    params = init_train_state(MODEL, OPTIMIZER, seed=0).params
    kernel, bias = (torch.tensor(np.array(params[name]), requires_grad=True) for name in ("kernel", "bias"))
    logits = (torch.tensor(TOKENS) @ kernel + bias).movedim(-1, 1)
    if weights is None:
        loss = torch.nn.CrossEntropyLoss(ignore_index=-100)(logits, torch.tensor(targets))
    else:
        values = torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="none")
        loss = (values * torch.tensor(weights)).sum() / (torch.tensor(weights) * torch.ones_like(values)).sum()
    loss.backward()
    return loss.item(), {"kernel": (kernel - 0.5 * kernel.grad).detach(), "bias": (bias - 0.5 * bias.grad).detach()}


def our_step(batch, **options):
    step = jax.jit(make_step(supervised(MODEL, losses.cross_entropy), OPTIMIZER, **options))
    after, measured = step(init_train_state(MODEL, OPTIMIZER, seed=0), batch)
    return metrics.compute(measured)["loss"], after.params


def assert_equal_steps(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours[1][name], theirs[1][name].numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2, 8])
def test_a_mask_of_tokens_is_pytorchs_ignore_index(accumulate):
    batch = (TOKENS, jnp.asarray(LABELS, jnp.int32), jnp.asarray(LABELS != -100))
    assert_equal_steps(our_step(batch, accumulate=accumulate), torch_step(LABELS))


@pytest.mark.parametrize("accumulate", [1, 4])
def test_weights_of_examples(accumulate):
    labels, weights = np.abs(LABELS) % 3, np.array([0, 0.5, 1, 2, 0, 3, 0, 1], np.float32)
    ours = our_step((TOKENS, jnp.asarray(labels, jnp.int32), weights), accumulate=accumulate)
    assert_equal_steps(ours, torch_step(labels, weights[:, None]))


def test_without_weights_all_numbers_count_equally():
    labels = np.abs(LABELS) % 3
    assert_equal_steps(our_step((TOKENS, jnp.asarray(labels, jnp.int32))), torch_step(labels, np.ones((8, 1))))


@pytest.mark.parametrize("filler", [np.nan, np.inf])
def test_targets_of_weight_zero_are_not_looked_at(filler):
    x, targets, weights = normal(6, 4), normal(6, 3), np.array([1, 1, 0, 1, 0, 0])
    loss = supervised(MODEL, losses.squared_error)
    params, state = MODEL.init(jax.random.key(0))

    def gradient(batch):
        def value(params):
            mean, (_, measured) = loss(params, state, batch, key=None, train=True)
            return metrics.compute({"value": mean})["value"], measured

        return jax.value_and_grad(value, has_aux=True)(params)

    (value, measured), slopes = gradient((x, np.where(weights[:, None] == 0, filler, targets), weights))
    kept = weights == 1
    (expected, _), expected_slopes = gradient((x[kept], targets[kept], np.ones(3)))
    np.testing.assert_allclose([value, measured["loss"].compute()], expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), slopes, expected_slopes)


def test_metrics_get_the_weights():
    x, labels = normal(12, 4), np.arange(12) % 3
    weights = np.array([1, 2, 0, 1, 1, 0, 3, 1, 1, 1, 0, 2], np.float32)
    loss = supervised(MODEL, losses.cross_entropy, {"accuracy": metrics.accuracy, "f1": metrics.f1})
    train_state = init_train_state(MODEL, OPTIMIZER, seed=0)
    numbers = metrics.compute(make_evaluate(loss, batch_size=5)(train_state, (x, jnp.asarray(labels), weights)))
    predicted = np.argmax(MODEL.apply(train_state.params, {}, x, train=False)[0], axis=1)
    expected = sklearn.metrics.accuracy_score(labels, predicted, sample_weight=weights)
    np.testing.assert_allclose(numbers["accuracy"], expected, rtol=1e-6)
    expected = sklearn.metrics.f1_score(labels, predicted, average="macro", sample_weight=weights)
    np.testing.assert_allclose(numbers["f1"], expected, rtol=1e-6)


def test_fit_with_weights_is_fit_on_the_examples_that_have_one():
    x, labels = normal(16, 4), np.arange(16) % 3
    weights = np.tile([1.0, 0.0], 8).astype(np.float32)
    loss = supervised(MODEL, losses.cross_entropy)
    step = make_step(loss, OPTIMIZER)

    def run(data, batch_size):
        initial = init_train_state(MODEL, OPTIMIZER, seed=0)
        return fit(initial, step, data, epochs=2, batch_size=batch_size, shuffle=False)

    ours = run((x, np.where(weights == 0, -1, labels), weights), 8)
    theirs = run((x[::2], labels[::2]), 4)
    np.testing.assert_allclose(ours.metrics["train"]["loss"], theirs.metrics["train"]["loss"], rtol=1e-5)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours.train_state.params[name], theirs.train_state.params[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (MODEL.apply, losses.cross_entropy),
            TypeError,
            "model must be a Model, as make_model returns, got function; write supervised(model, ...) instead of "
            "supervised(model.apply, ...)",
        ),
        ((MODEL, jnp.zeros(3)), TypeError, "loss must be a function (outputs, targets)"),
        (
            (MODEL, losses.cross_entropy, metrics.accuracy),
            TypeError,
            'metrics must be functions by name, such as {"accuracy": metrics.accuracy}, got function',
        ),
        ((MODEL, losses.cross_entropy, {"accuracy": 1}), TypeError, "got a dict of ['accuracy']"),
        (
            (MODEL, losses.cross_entropy, {"loss": metrics.accuracy}),
            ValueError,
            "'loss' is the name of the loss itself",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        supervised(*arguments)


X, Y = jnp.ones((8, 4)), jnp.zeros(8, jnp.int32)


@pytest.mark.parametrize(
    ("loss", "batch", "error", "message"),
    [
        (
            losses.cross_entropy,
            {"image": X, "label": Y},
            TypeError,
            "a batch is the pair (inputs, targets) or the triple (inputs, targets, weights), got a dict of "
            "['image', 'label']; make data of the form (batch['inputs'], batch['targets'])",
        ),
        (losses.cross_entropy, X, TypeError, "got float32[8, 4]; make data of the form (inputs, targets)"),
        (losses.cross_entropy, (X, Y, Y, Y), TypeError, "got a tuple of 4"),
        (
            losses.cross_entropy,
            (X, Y, jnp.ones(7)),
            ValueError,
            "weights must have the shape of the losses [8] or of their first axes, such as [8], got [7]",
        ),
        (losses.cross_entropy, (X, Y, jnp.ones((8, 1))), ValueError, "of the losses [8]"),
        (
            lambda outputs, targets: jnp.mean(losses.cross_entropy(outputs, targets)),
            (X, Y),
            ValueError,
            "must give one number an example, [batch], got a single one; leave out its mean",
        ),
        (
            lambda outputs, targets: (losses.cross_entropy(outputs, targets), {}),
            (X, Y),
            TypeError,
            "loss(outputs, targets) must return an array [batch, ...], got a tuple of 2",
        ),
    ],
)
def test_wrong_batches_and_losses_are_refused(loss, batch, error, message):
    step = make_step(supervised(MODEL, loss), OPTIMIZER)
    with pytest.raises(error, match=re.escape(message)):
        jax.jit(step)(init_train_state(MODEL, OPTIMIZER, seed=0), batch)
