"""The training loop: what it computes, tells and refuses."""

import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from jaxnets import metrics
from jaxnets.training import compile_step, fit, load_checkpoint, make_evaluate, save_checkpoint, scan_data
from tests.html_rows import html_rows
from tests.training.problem import LOSS, MODEL, STEP, data, start

DATA = data()


def run(train_state=None, epochs=4, **settings):
    return fit(train_state or start(), STEP, DATA, epochs=epochs, batch_size=16, **settings)


def test_fit_runs_the_steps_of_the_plain_scan():
    expected, _ = compile_step(scan_data(STEP, steps=12, batch_size=16))(start(), DATA)
    chex.assert_trees_all_close(run().train_state.params, expected.params, rtol=1e-4, atol=1e-5)


def test_going_on_gives_the_bits_of_never_having_stopped():
    whole = run().train_state
    stopped = run(epochs=2).train_state
    chex.assert_trees_all_equal(run(stopped).train_state.params, whole.params)


def test_going_on_from_a_checkpoint_gives_the_same_bits(tmp_path):
    whole = run().train_state
    save_checkpoint(tmp_path / "half", run(epochs=2).train_state)
    restored = load_checkpoint(tmp_path / "half", like=start(seed=5))
    chex.assert_trees_all_equal(run(restored).train_state.params, whole.params)


def test_a_checkpoint_is_never_overwritten_nor_made_up(tmp_path):
    save_checkpoint(tmp_path / "a", start())
    with pytest.raises(ValueError, match="exists; choose another folder"):
        save_checkpoint(tmp_path / "a", start())
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "b", like=start())


@pytest.mark.parametrize("batch_size", [7, 16, 25, 50, 64])
def test_evaluation_counts_every_example_once(batch_size):
    train_state = run().train_state
    measured = metrics.compute(jax.jit(make_evaluate(LOSS, batch_size=batch_size))(train_state, DATA))
    logits, _ = MODEL.apply(train_state.params, train_state.state, DATA[0], train=False)
    probabilities = np.asarray(jax.nn.softmax(logits), np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = np.asarray(DATA[1])
    assert float(measured["accuracy"]) == pytest.approx(
        sklearn.metrics.accuracy_score(labels, probabilities.argmax(1)), abs=1e-7
    )
    expected = sklearn.metrics.log_loss(labels, probabilities, labels=[0, 1, 2])
    assert float(measured["loss"]) == pytest.approx(expected, rel=1e-5)


def test_callbacks_hear_everything_in_order():
    events = []
    run(
        epochs=2,
        steps_per_call=1,
        evaluate=make_evaluate(LOSS),
        validation=data(20, seed=1),
        callbacks=[lambda event: events.append(event._replace(train_state=None))],
    )
    kinds = [(event.kind, event.step, event.examples) for event in events]
    epoch = [*(("steps", step, 16) for step in (1, 2, 3)), ("epoch", 3, 0), ("evaluate", 3, 0)]
    second = [*(("steps", step, 16) for step in (4, 5, 6)), ("epoch", 6, 0), ("evaluate", 6, 0)]
    assert kinds == [("start", 0, 0), *epoch, *second, ("end", 6, 0)]
    losses = [event.metrics["loss"] for event in events if event.kind == "steps"]
    assert events[4].metrics["loss"] == pytest.approx(np.mean(losses[:3]), rel=1e-5)
    assert {event.split for event in events if event.kind == "evaluate"} == {"validation"}


def test_the_end_is_told_also_after_an_error():
    kinds = []

    def callback(event):
        kinds.append(event.kind)
        if event.kind == "epoch":
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run(callbacks=[callback])
    assert kinds[-1] == "end"


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step():
    x, labels = DATA
    bad = (x.at[7].set(jnp.nan), labels)
    with pytest.raises(FloatingPointError, match=r"went wrong at step 0: the loss is not finite; .*lower the"):
        fit(start(), STEP, bad, epochs=1, batch_size=16, shuffle=False)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="batch_size must be between 1 and the number of examples, 50; got 51"):
        fit(start(), STEP, DATA, epochs=1, batch_size=51)
    with pytest.raises(ValueError, match="same first axis"):
        fit(start(), STEP, (DATA[0], DATA[1][:10]), epochs=1, batch_size=5)
    with pytest.raises(ValueError, match="validation data and evaluate go together"):
        run(validation=DATA)
    with pytest.raises(ValueError, match="steps_per_call must be an integer of at least 1, got 0"):
        run(steps_per_call=0)


def test_the_time_of_evaluation_is_told():
    """Without that of compilation: the evaluation sleeps, and half a second more while it is traced."""

    def evaluate(train_state, batches):
        time.sleep(0.5)
        slept = jax.pure_callback(lambda: time.sleep(0.05) or np.float32(1), jax.ShapeDtypeStruct((), jnp.float32))
        return {"slept": metrics.mean(slept[None])}

    found = run(epochs=2, evaluate=evaluate, validation=data(20, 1))
    assert 2 * 0.05 <= found.evaluate_seconds <= found.run_seconds
    assert found.compile_seconds >= 0.5
    assert run(epochs=1).evaluate_seconds == 0


def test_a_notebook_shows_the_last_metrics():
    found = run(epochs=1, evaluate=make_evaluate(LOSS), validation=data(20, 1))
    header, *rows = html_rows(found._repr_html_())
    shown = {row[0]: dict(zip(header[1:], map(float, row[1:]), strict=True)) for row in rows}
    assert shown == {
        split: {name: pytest.approx(value, rel=1e-3) for name, value in numbers.items()}
        for split, numbers in found.metrics.items()
    }
