"""How the experiments with arithmetic ask and read, with a network whose answers are known beforehand."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.support import arithmetic
from experiments.support.arithmetic import VOCABULARY
from jaxnets import decode
from jaxnets.data import addition_pairs


def test_weights_are_at_what_follows_the_question():
    ids, weights = arithmetic.encode(["1+2=3", "10+20=1+1=2:30"], 16)
    assert [VOCABULARY.decode(row) for row in ids] == ["1+2=3", "10+20=1+1=2:30"]
    for row, marks, text in zip(ids, weights, ["3", "1+1=2:30"], strict=True):
        assert VOCABULARY.decode(row[1:][marks > 0]) == text
        assert marks.sum() == len(text) + 1  # and the end


def test_answers_belong_to_their_questions_and_end_where_they_do(monkeypatch):
    """A network that answers the first digit of the question, and nothing else unless it is 7."""

    def step(carry, ids):
        first, place = carry
        first = jnp.where(place == 0, ids, first)
        seven = first == VOCABULARY.encode("7")[0]
        following = jnp.where((place < 3) | seven, first, arithmetic.END)
        return jax.nn.one_hot(following, VOCABULARY.size), (first, place + 1)

    monkeypatch.setattr(arithmetic, "gpt_carry", lambda *_, batch, **__: (jnp.zeros(batch, int), jnp.zeros(batch, int)))
    monkeypatch.setattr(arithmetic, "gpt_step", lambda *_: decode.one_by_one(step))
    monkeypatch.setattr(arithmetic, "ROWS", 4)
    questions = [f"{first}+{first % 7}" for first in range(1, 10)]
    answers = arithmetic.make_answer(None, 5, 6)({}, questions)
    assert answers == [str(first) if first != 7 else "777777?" for first in range(1, 10)]


def test_questions_by_digits_are_new():
    import importlib

    experiment = importlib.import_module("experiments.arithmetic_reasoning")
    config = experiment.Config(held_out=400)
    known = {tuple(pair) for pair in addition_pairs(60, seed=1, digits=(2, 2)).tolist()}
    drawn = experiment.questions_by_digits(config, known)
    assert len(drawn[2]) == 40
    assert not known & set(drawn[2])
    for digits, pairs in drawn.items():
        assert {len(str(number)) for pair in pairs for number in pair} == {digits}
    np.testing.assert_array_equal([len(drawn[n]) for n in (1, 3, 4, 5)], 100)
