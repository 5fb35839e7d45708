"""Training from a source is training from an array, to the bit."""

import itertools

import chex
import jax
import numpy as np
import pytest

from jaxnets import metrics
from jaxnets.data import Source
from jaxnets.training import Checkpoints, data_parallel, device_mesh, fit, make_evaluate, make_step, replicate
from jaxnets.training.feeds import SourceFeed
from tests.forms import needs_devices
from tests.training.problem import LOSS, OPTIMIZER, STEP, data, start

DATA, VALIDATION = data(67), data(30, seed=1)
SETTINGS = {"epochs": 3, "batch_size": 8, "validation": VALIDATION, "evaluate": make_evaluate(LOSS, batch_size=16)}


class Examples:
    """Examples of arrays, by number, and which were asked for."""

    def __init__(self, arrays):
        self.arrays, self.asked = arrays, []

    def __len__(self):
        return len(jax.tree.leaves(self.arrays)[0])

    def __getitem__(self, index):
        self.asked.append(index)
        return jax.tree.map(lambda array: array[index], self.arrays)


def source(arrays=DATA, **settings):
    return Source(Examples(arrays), **settings)


def train(examples, begin=None, step=STEP, **settings):
    return fit(start() if begin is None else begin, step, examples, **(SETTINGS | settings))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("steps_per_call", [1, 3, 50])
def test_bits_are_those_of_an_array(shuffle, steps_per_call):
    expected = train(DATA, shuffle=shuffle)
    actual = train(source(), shuffle=shuffle, steps_per_call=steps_per_call)
    chex.assert_trees_all_equal(actual.train_state, expected.train_state)
    assert [row["loss"] for row in actual.history] == pytest.approx([row["loss"] for row in expected.history], rel=1e-6)
    assert 0 < actual.waiting_seconds < actual.run_seconds


def test_validation_may_be_a_source_too(monkeypatch):
    """Read in two parts of 16 and 14 examples."""
    example = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(Examples(VALIDATION)[0]))
    monkeypatch.setattr("jaxnets.training.feeds._AT_ONCE", 16 * example)
    expected, actual = train(DATA), train(source(), validation=source(VALIDATION))
    for name, number in expected.metrics["validation"].items():
        assert actual.metrics["validation"][name] == pytest.approx(number, rel=1e-5)


def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path):
    """With another number of threads, and then with the array."""
    settings = {"steps_per_call": 2}

    def stop_at(step):
        return lambda event: event.kind == "steps" and event.step >= step

    expected = train(DATA)
    for examples, callback in ((source(), stop_at(4)), (source(threads=1), stop_at(13)), (source(), stop_at(999))):
        result = train(examples, checkpoints=Checkpoints(tmp_path / "run"), callbacks=[callback], **settings)
    chex.assert_trees_all_equal(result.train_state, expected.train_state)
    assert result.first_step == 14


def test_another_source_is_another_data_set(tmp_path):
    train(source(), checkpoints=Checkpoints(tmp_path / "run"), epochs=1)
    other = jax.tree.map(np.copy, DATA)
    jax.tree.leaves(other)[0][0] += 1
    with pytest.raises(ValueError, match="checksum of the data"):
        train(source(other), checkpoints=Checkpoints(tmp_path / "run"))


@needs_devices(8)
def test_each_device_gets_its_rows():
    mesh = device_mesh()
    step = data_parallel(make_step(LOSS, OPTIMIZER), mesh)
    expected = train(DATA, replicate(start(), mesh), step)
    actual = train(source(), replicate(start(), mesh), step)
    chex.assert_trees_all_equal(actual.train_state, expected.train_state)
    feed = SourceFeed(source())
    feed.scan(step, steps=2, batch_size=8, shuffle=False)
    feed.place(replicate(start(), mesh), step.placement, 4)
    for leaf, array in zip(jax.tree.leaves(feed.at(0, 2)), jax.tree.leaves(DATA), strict=True):
        assert {shard.data.shape[1] for shard in leaf.addressable_shards} == {1}
        np.testing.assert_array_equal(np.asarray(leaf), np.reshape(array[:16], (2, 8, *array.shape[1:])))
    feed.close()


def test_datasets_of_grain_are_sources():
    grain = pytest.importorskip("grain")
    dataset = grain.MapDataset.source(Examples(DATA)).map(lambda example: example)
    chex.assert_trees_all_equal(train(Source(dataset)).train_state, train(DATA).train_state)


@pytest.mark.parametrize("dataset", [np.arange(12.0).reshape(4, 3), list(np.arange(12.0).reshape(4, 3))])
def test_only_examples_by_number_count(dataset):
    """Not what else a data set has: the `take` of an array counts its entries, that of Hugging Face takes a count."""
    np.testing.assert_array_equal(Source(dataset).take([2, 0]), [[6, 7, 8], [0, 1, 2]])


def test_an_error_of_the_data_set_ends_the_run():
    class Broken(Examples):
        def __getitem__(self, index):
            if index == 60:
                raise OSError("example 60 is on a lost disk")
            return super().__getitem__(index)

    with pytest.raises(OSError, match="example 60 is on a lost disk"):
        train(Source(Broken(DATA)), steps_per_call=1)


def test_no_more_is_read_than_one_dispatch_ahead():
    """Of a data set of 1.6 TB."""

    class Huge:
        def __init__(self):
            self.asked = []

        def __len__(self):
            return 100_000

        def __getitem__(self, index):
            self.asked.append(index)
            generator = np.random.default_rng(index)
            return generator.normal(size=(1_000_000, 4)).astype(np.float32)

    huge = Huge()
    feed = SourceFeed(Source(huge))
    steps = feed.most_steps(50, 2)
    assert steps == 2
    feed.scan(STEP, steps=steps, batch_size=2, shuffle=True)
    feed.place(start(), None, 100)
    for call in range(2):
        jax.block_until_ready(feed.at(call * steps, steps))
    feed.close()
    assert len(huge.asked) <= 1 + 3 * steps * 2


def test_each_example_of_the_last_epoch_is_read_once_and_none_after_it():
    examples = source()
    train(examples, epochs=1, steps_per_call=1, shuffle=False)
    first, *read = examples.dataset.asked  # the first one says what examples look like
    assert (first, sorted(read)) == (0, list(range(64)))


def test_what_is_no_source_is_refused():
    with pytest.raises(
        TypeError, match=r"len\(dataset\) and dataset\[i\], got a repeat; an iterator cannot be read from"
    ):
        Source(itertools.repeat(1))
    with pytest.raises(ValueError, match="films is empty"):
        Source([], name="films")
    for threads in (0, 2.5, "4"):
        with pytest.raises(ValueError, match=f"threads must be an integer of at least 1, got {threads!r}"):
            Source([1], threads=threads)
    with pytest.raises(
        ValueError, match=r"example 1 has \['float64\[3\]'\], example 0 has \['float64\[2\]'\]; crop, pad"
    ):
        Source([np.ones(2), np.ones(3)]).take([0, 1])
    with pytest.raises(ValueError, match="batch_size must be between 1 and the number of examples, 67; got 68"):
        train(source(), batch_size=68)


def noisy(params, state, batch, *, key, train):
    value, (state, numbers) = LOSS(params, state, batch, key=key, train=train)
    return value, (state, numbers | {"noise": metrics.mean(jax.random.normal(key, batch[1].shape))})


@pytest.mark.parametrize("bytes_at_once", [1, 1000])
def test_parts_of_a_source_have_the_random_numbers_of_the_whole(monkeypatch, bytes_at_once):
    """An example has 20 bytes: parts are of one example, or of 50 and then 48, which are whole batches of 12."""
    monkeypatch.setattr("jaxnets.training.feeds._AT_ONCE", bytes_at_once)
    batch_size = 1 if bytes_at_once == 1 else 12

    def measured(validation):
        settings = {"evaluate": make_evaluate(noisy, batch_size=batch_size), "validation": validation, "epochs": 1}
        return fit(start(), STEP, DATA, batch_size=16, **settings).metrics["validation"]

    examples = data(60, seed=1)
    found, expected = measured(source(examples)), measured(examples)
    np.testing.assert_allclose(found["noise"], expected["noise"], rtol=1e-6)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-6)
