"""The experiment with dates: how it decodes and counts, with answers that are known beforehand."""

import importlib

import jax
import jax.numpy as jnp
import pytest

from jaxnets import decode
from jaxnets.data import DateSet, date_ids, date_vocabularies
from jaxnets.report import RunFolder
from jaxnets.training import TrainState

experiment = importlib.import_module("experiments.dates_seq2seq")
HELD_OUT = DateSet(["7 May 1998", "mar 07, 1998", "25.3.98"], ["1998-05-07", "1998-03-07", "1998-03-25"])
ANSWERS = ["1998-05-07", "1998-07-07", "1998-03-2"]


def knowing(answers, model):
    """A network whose decoder writes given texts, one character after the other, and the end."""
    padded = DateSet([""] * len(answers), [text.ljust(10, "\3") for text in answers])
    start = jnp.asarray(date_ids(padded)[1]), jnp.zeros(len(answers), jnp.int32)

    def step(carry, _):
        texts, place = carry
        following = texts[jnp.arange(len(texts)), place + 1]
        return jax.nn.one_hot(following, 14), (texts, place + 1)

    return experiment.Network(model, lambda params, source: start, lambda params: decode.one_by_one(step))


def test_a_date_counts_only_if_every_character_is_right(tmp_path):
    config = experiment.Config(hidden=4)
    model = experiment.make_network(config).model
    folder = RunFolder.open("dates_seq2seq", config, path=tmp_path / "run")
    params, _ = model.init(jax.random.key(0))
    state = TrainState.create(params, (), seed=0)
    numbers = experiment.test(config, folder, knowing(ANSWERS, model), state, HELD_OUT)
    assert numbers["exact_match"] == pytest.approx(1 / 3)
    lines = (tmp_path / "run" / "mistakes.txt").read_text().splitlines()
    assert lines[0].startswith("2 of 3 dates are wrong")
    assert [line.split()[-2:] for line in lines[1:]] == [["1998-07-07", "1998-03-07"], ["1998-03-2", "1998-03-25"]]


def test_numbers_of_begin_and_end_are_those_of_the_vocabulary():
    for vocabulary in date_vocabularies():
        ids = vocabulary.encode("\0\2\3")
        assert ids.tolist() == [experiment.PAD, experiment.BEGIN, experiment.END]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lstm_attention", "transformer"])
def test_either_network_learns_to_look_at_the_date(model, tmp_path):
    """Without it no loss is below 0.955 nats per character: all days of the century have the same probability."""
    settings = {"examples": 512, "held_out": 64, "hidden": 32, "epochs": 12, "batch_size": 16}
    result = experiment.run(experiment.Config(model=model, out=tmp_path, **settings))
    assert result["metrics"]["test"]["loss"] < 0.85
    assert (tmp_path / "attention.png").exists() == (model == "lstm_attention")
