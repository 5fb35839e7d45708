"""`fit` and a loop of one's own on batches of several shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, metrics, nn
from jaxnets.data import make_buckets
from jaxnets.sharding import FSDP, make_mesh, place
from jaxnets.training import (
    Checkpoints,
    bucket_evaluate,
    bucket_step,
    compile_step,
    fit,
    init_train_state,
    make_step,
    supervised,
)
from jaxnets.training.batches import batch_indices
from tests.compilations import count_compilations
from tests.forms import needs_devices, needs_fixed_order

WORDS, CLASSES = 20, 3
SPEC = {"embedding": nn.embedding_spec(WORDS, 4), "linear": nn.linear_spec(4, CLASSES)}


def apply(params, state, inputs, *, key=None, train):
    ids, lengths = inputs
    real = nn.sequence_mask(lengths, ids.shape[1]).astype(jnp.float32)
    summed = jnp.sum(nn.embedding(params["embedding"], ids) * real[..., None], axis=1)
    return nn.linear(params["linear"], summed / lengths[:, None].astype(jnp.float32)), state


MODEL = make_model(SPEC, apply)
OF_BATCH = supervised(MODEL, losses.cross_entropy, {"accuracy": metrics.accuracy})


def loss(params, state, batch, *, key, train):
    inputs = batch["text"], batch["text_lengths"]
    return OF_BATCH(params, state, (inputs, batch["label"], batch["weights"]), key=key, train=train)


def examples(count, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, WORDS, n) for n in generator.integers(1, 17, count)], generator.integers(
        0, CLASSES, count
    )


TEXTS, LABELS = examples(45)
BUCKETS = make_buckets({"text": TEXTS}, {"label": LABELS}, lengths=[4, 8, 16], batch_size=[8, 4, 4])
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
STEP = make_step(loss, OPTIMIZER)


def start():
    return init_train_state(MODEL, OPTIMIZER, 0)


def train(epochs, state=None, **settings):
    return fit(
        start() if state is None else state,
        bucket_step(STEP),
        BUCKETS.places,
        constants=BUCKETS.groups,
        batch_size=1,
        epochs=epochs,
        **settings,
    )


def test_fit_equals_a_loop_over_the_same_batches():
    trained = train(2)
    state, step = start(), compile_step(STEP)
    steps = BUCKETS.steps_per_epoch
    order = np.asarray(batch_indices(state.key, 0, 2 * steps, steps, 1)).ravel()
    batches, measured = list(BUCKETS.in_order()), []
    for number in order:
        state, found = step(state, batches[number])
        measured.append(found)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), trained.train_state.params, state.params
    )
    second = jax.tree.map(lambda *leaves: jnp.stack(leaves), *measured[steps:])
    for name, number in metrics.compute(metrics.reduce(second)).items():
        np.testing.assert_allclose(trained.metrics["train"][name], number, rtol=1e-5)


def test_a_loop_compiles_one_program_a_shape():
    state, step = start(), compile_step(make_step(loss, OPTIMIZER))
    batches = [BUCKETS.batch(0, n) for n in range(3 * BUCKETS.steps_per_epoch)]
    with count_compilations() as compilations:
        for batch in batches:
            state, _ = step(state, batch)
    assert compilations.count == len({batch["text"].shape for batch in batches}) == 3


def test_evaluation_is_the_mean_over_texts_without_padding():
    state = start()
    measured = metrics.compute(jax.jit(bucket_evaluate(loss))(state, BUCKETS.groups))
    table, linear = np.asarray(state.params["embedding"]["embedding"]), jax.tree.map(np.asarray, state.params["linear"])
    values, right = [], []
    for text, label in zip(TEXTS, LABELS, strict=True):
        logits = table[text].mean(0) @ linear["kernel"] + linear["bias"]
        values.append(np.log(np.exp(logits).sum()) - logits[label])
        right.append(logits.argmax() == label)
    np.testing.assert_allclose(measured["loss"], np.mean(values), rtol=1e-5)
    np.testing.assert_allclose(measured["accuracy"], np.mean(right), rtol=1e-6)


@needs_fixed_order
def test_a_run_that_goes_on_has_the_same_bits(tmp_path):
    texts, labels = examples(20, seed=1)
    validation = make_buckets({"text": texts}, {"label": labels}, lengths=[8, 16], batch_size=8).groups
    settings = {"evaluate": bucket_evaluate(loss), "validation": validation}
    whole = train(3, **settings)
    train(1, checkpoints=Checkpoints(tmp_path), **settings)
    resumed = train(3, checkpoints=Checkpoints(tmp_path), **settings)
    assert resumed.first_step == BUCKETS.steps_per_epoch
    jax.tree.map(np.testing.assert_array_equal, whole.train_state.params, resumed.train_state.params)
    assert whole.metrics == resumed.metrics


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"expected one place \[1, 2\] and the groups, got \[2, 2\] and 3 groups"):
        fit(start(), bucket_step(STEP), BUCKETS.places, constants=BUCKETS.groups, batch_size=2, epochs=1)
    with pytest.raises(ValueError, match=r"and 0 groups; write fit\(..., buckets.places, batch_size=1, constants="):
        fit(start(), bucket_step(STEP), BUCKETS.places, batch_size=1, epochs=1)
    with pytest.raises(ValueError, match="there is no example to evaluate"):
        bucket_evaluate(loss)(start(), ())


@needs_devices(8)
def test_buckets_on_a_mesh_are_those_of_one_device():
    """Of the batches, those of 8 texts are divided over the devices."""
    buckets = make_buckets({"text": TEXTS}, {"label": LABELS}, lengths=[8, 16], batch_size=8)
    placement = place(MODEL, make_mesh({"data": 8}), FSDP)
    results = []
    for where in (None, placement):
        results.append(
            fit(
                init_train_state(MODEL, OPTIMIZER, 0, placement=where),
                bucket_step(make_step(loss, OPTIMIZER, placement=where)),
                buckets.places,
                constants=buckets.groups,
                batch_size=1,
                epochs=2,
                evaluate=bucket_evaluate(loss),
                validation=buckets.groups,
            )
        )
    one, divided = results
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        jax.device_get(divided.train_state.params),
        jax.device_get(one.train_state.params),
    )
    assert divided.train_state.params["linear"]["kernel"].sharding.is_fully_replicated  # neither 4 nor 3 divide by 8
    for name, number in one.metrics["validation"].items():
        np.testing.assert_allclose(divided.metrics["validation"][name], number, rtol=1e-5)
    args = jax.eval_shape(lambda: start()), buckets.groups
    flops = [
        jax.jit(bucket_evaluate(loss, placement=where)).lower(*args).compile().cost_analysis()["flops"]
        for where in (None, placement)
    ]
    assert flops[1] < flops[0] / 4  # of one device
