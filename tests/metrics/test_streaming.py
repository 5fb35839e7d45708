"""However the data are split into batches, and wherever they are measured: scikit-learn's number of the whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings, strategies as st
from jax.sharding import Mesh, PartitionSpec

from jaxnets import losses, metrics
from tests.forms import float64, needs_devices
from tests.metrics.table import CLASSES, EXAMPLES, METRICS
from tests.oracles import assert_close, normal

named = pytest.mark.parametrize("name", METRICS)


@functools.partial(jax.jit, static_argnames="name")
def measured(name, outputs, targets, weights):
    return METRICS[name][0](outputs, targets, weights=weights)


def merged(name, outputs, targets, weights, batch_size):
    """Batches one after the other, the last one smaller."""
    total = None
    for start in range(0, len(targets), batch_size):
        rows = slice(start, start + batch_size)
        batch = measured(name, outputs[rows], targets[rows], weights[rows])
        total = batch if total is None else metrics.merge(total, batch)
    return metrics.compute(total)


def scanned(name, outputs, targets, weights, batch_size):
    """Batches of one size in a scan, the last one padded by NaN and classes out of range of weight 0."""

    def batches(array, filler):
        padding = np.full((-len(array) % batch_size, *array.shape[1:]), filler, array.dtype)
        return np.concatenate([array, padding]).reshape(-1, batch_size, *array.shape[1:])

    filler = -1 if np.issubdtype(targets.dtype, np.integer) else np.nan
    return compute_scanned(name, batches(outputs, np.nan), batches(targets, filler), batches(weights, 0))


@functools.partial(jax.jit, static_argnames="name")
def compute_scanned(name, *stacks):
    _, stacked = jax.lax.scan(lambda _, batch: (None, measured(name, *batch)), None, stacks)
    return metrics.compute(metrics.reduce(stacked))


@named
@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch_size=st.sampled_from([1, 10, 24]),
    kind=st.sampled_from(["ones", "mask", "real"]),
    stream=st.sampled_from([merged, scanned]),
)
def test_any_split_into_batches_equals_sklearn(name, seed, batch_size, kind, stream):
    _, oracle, data = METRICS[name]
    generator = np.random.default_rng(seed)
    outputs, targets = data(generator)
    weights = {
        "ones": np.ones(EXAMPLES),
        "mask": generator.integers(0, 2, EXAMPLES),
        "real": generator.choice([0.0, 0.25, 1.5], EXAMPLES),
    }[kind].astype(np.float32)
    kept = weights != 0
    expected = oracle(outputs[kept], targets[kept], weights[kept])
    assert_close(stream(name, outputs, targets, weights, batch_size), expected, rtol=2e-6, atol=2e-6)


@named
def test_no_weights_are_weights_of_one(name):
    metric, _, data = METRICS[name]
    outputs, targets = data(np.random.default_rng(0))
    plain = metric(outputs, targets, weights=None)
    jax.tree.map(np.testing.assert_array_equal, plain, metric(outputs, targets, weights=np.ones(EXAMPLES, bool)))


@named
def test_nothing_has_no_number_and_changes_none(name):
    outputs, targets = METRICS[name][2](np.random.default_rng(0))
    nothing = measured(name, np.full_like(outputs, np.nan), targets, np.zeros(EXAMPLES, np.float32))
    if name not in ("confusion_matrix", "class_scores", "binary_scores"):  # scikit-learn's zero_division is 0
        assert np.isnan(metrics.compute(nothing))
    some = measured(name, outputs, targets, np.ones(EXAMPLES, np.float32))
    for both in (metrics.merge(nothing, some), metrics.merge(some, nothing)):
        assert_close(metrics.compute(both), metrics.compute(some), rtol=1e-6)


@named
def test_float64_metrics_are_float64(name):
    outputs, targets = METRICS[name][2](np.random.default_rng(0))
    expected = metrics.compute(measured(name, outputs, targets, np.ones(EXAMPLES, np.float32)))
    with float64():
        result = metrics.compute(measured(name, outputs.astype(np.float64), targets, np.ones(EXAMPLES)))
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.float64)}
        assert_close(result, expected, rtol=1e-6)


@named
def test_low_precision_is_measured_in_float32(name):
    outputs, targets = METRICS[name][2](np.random.default_rng(0))
    low, weights = jnp.asarray(outputs, jnp.bfloat16), np.ones(EXAMPLES, np.float32)
    result = metrics.compute(measured(name, low, targets, weights))
    expected = metrics.compute(measured(name, low.astype(jnp.float32), targets, weights))
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.float32)}
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def test_sequences_equal_their_flattened_form():
    logits, labels = normal(3, 5, 4), np.arange(15).reshape(3, 5) % 4
    weights = labels.astype(np.float32)
    for name in ("accuracy", "top_k_accuracy", "perplexity", "roc_auc_one_vs_rest", "confusion_matrix"):
        flat = measured(name, logits.reshape(15, 4), labels.reshape(15), weights.reshape(15))
        result = metrics.compute(measured(name, logits, labels, weights))
        np.testing.assert_allclose(result, metrics.compute(flat), rtol=1e-6, err_msg=name)


def test_probabilities_as_labels_count_by_the_largest():
    logits, labels = METRICS["accuracy"][2](np.random.default_rng(0))
    one_hot, weights = np.eye(CLASSES, dtype=np.float32)[labels], np.ones(EXAMPLES, np.float32)
    for name in ("accuracy", "top_k_accuracy", "class_scores", "roc_auc_one_vs_rest"):
        expected, actual = measured(name, logits, labels, weights), measured(name, logits, one_hot, weights)
        jax.tree.map(np.testing.assert_array_equal, actual, expected)


@jax.jit
def measure(outputs, targets):
    return {
        "accuracy": metrics.accuracy(outputs, targets),
        "r2": metrics.r2(outputs, jax.nn.one_hot(targets, CLASSES)),
        "auc": [metrics.roc_auc(outputs[:, 0], targets == 0)],
    }


@needs_devices(8)
def test_devices_measure_what_one_device_measures():
    logits, labels = normal(16, CLASSES), np.arange(16) % CLASSES
    expected = metrics.compute(measure(logits, labels))
    parts = logits.reshape(8, 2, CLASSES), labels.reshape(8, 2)

    def assert_equal(actual, leading=()):
        spread = jax.tree.map(lambda e: np.broadcast_to(e, (*leading, *e.shape)), expected)
        jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-5), actual, spread)

    every = jax.pmap(lambda z, y: metrics.compute(metrics.all_reduce(measure(z, y), "d")), axis_name="d")
    assert_equal(every(*parts), (8,))
    stacked = jax.pmap(measure)(*parts)
    assert_equal(metrics.compute(metrics.reduce(stacked)))
    mapped = jax.shard_map(
        lambda z, y: jax.tree.map(lambda leaf: leaf[None], measure(z, y)),
        mesh=Mesh(jax.devices(), "d"),
        in_specs=PartitionSpec("d"),
        out_specs=PartitionSpec("d"),
    )
    assert_equal(metrics.compute(metrics.reduce(jax.jit(mapped)(logits, labels))))


@needs_devices(8)
def test_metrics_whose_sums_are_the_same_on_all_devices_are_added_up():
    """The number of examples is a constant of the program, which does not vary over the devices."""
    predictions, targets = jnp.asarray(normal(16)), jnp.asarray(normal(16, seed=1))

    def both(predictions, targets):
        return metrics.all_reduce({"r2": metrics.r2(predictions, targets), "mean": metrics.mean(jnp.ones(3))}, "d")

    rows = PartitionSpec("d")
    divided = jax.shard_map(both, mesh=Mesh(jax.devices(), "d"), in_specs=rows, out_specs=PartitionSpec())
    found = metrics.compute(divided(predictions, targets))
    np.testing.assert_allclose(found["r2"], sk.r2_score(targets, predictions), rtol=1e-5)
    assert found["mean"] == 1


def test_vmapped_seeds_are_computed_one_by_one():
    logits, labels = normal(3, 2, 16, CLASSES), np.arange(32).reshape(2, 16) % CLASSES

    def run(logits):
        _, stacked = jax.lax.scan(lambda _, batch: (None, measure(*batch)), None, (logits, jnp.asarray(labels)))
        return metrics.reduce(stacked)

    actual = jax.vmap(metrics.compute)(jax.vmap(run)(logits))
    for seed in range(3):
        expected = metrics.compute(measure(logits[seed].reshape(32, CLASSES), labels.reshape(32)))
        jax.tree.map(lambda a, e, s=seed: np.testing.assert_allclose(a[s], e, rtol=1e-5), actual, expected)


def test_metrics_are_auxiliary_results_of_grad():
    def loss(kernel, x, labels):
        logits = x @ kernel
        values = losses.cross_entropy(logits, labels)
        measured = {"loss": metrics.mean(values), "perplexity": metrics.perplexity(values)} | measure(logits, labels)
        return jnp.mean(values), measured

    x, labels = normal(16, 3), np.arange(16) % CLASSES
    (value, measured), slope = jax.jit(jax.value_and_grad(loss, has_aux=True))(normal(3, CLASSES), x, labels)
    numbers = metrics.compute(measured)
    np.testing.assert_allclose(numbers["loss"], value, rtol=1e-6)
    np.testing.assert_allclose(numbers["perplexity"], np.exp(value), rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(slope)))
    through = jax.grad(lambda z: metrics.mean(z**2).compute() + metrics.r2(z, normal(4)).compute())(normal(4, seed=1))
    np.testing.assert_allclose(through, 2 * normal(4, seed=1) / 4, rtol=1e-6)  # of the mean alone
