"""The experiment with rewards: what it learns from, and its loss, by formulas written out in NumPy."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.support.arithmetic import VOCABULARY, make_network
from jaxnets import decode, models

experiment = importlib.import_module("experiments.reasoning_rl")


def drawn(texts, log_probs):
    """What `decode.generate` returns for answers, with an end behind each."""
    rows = [[*VOCABULARY.encode(text), 1] for text in texts]
    ids, real = np.zeros((2, len(texts), experiment.ANSWER), np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)], real[i, : len(row)] = row, 1
    return decode.Generated(ids, np.where(real, log_probs, 0), real.astype(bool), (), None)


def test_answers_stand_right_behind_their_questions():
    ids, lengths = experiment.ask(np.array([[5, 23], [128, 367]]))
    answers = experiment.put_together(ids, lengths, drawn(["28", "7+5"], -0.5), np.array([1.0, -1.0]))
    assert [VOCABULARY.decode(row) for row in answers.ids] == ["5+23=28", "128+367=7+5"]
    assert answers.ids[0, 7] == answers.ids[1, 11] == 1
    for i, (first, last) in enumerate([(4, 7), (7, 11)]):
        places = np.arange(answers.weights.shape[1])
        inside = (places >= first) & (places < last)
        np.testing.assert_allclose(answers.weights[i], inside / (last - first), rtol=1e-6)
        np.testing.assert_array_equal(answers.log_probs[i], np.where(inside, -0.5, 0))


@pytest.mark.parametrize(("text", "right"), [("495", True), ("8+7+0=15:495", True), ("495?", False), ("594", False)])
def test_the_reward_is_for_the_number_alone(text, right):
    assert experiment.is_right(text, (128, 367)) == right


def test_the_loss_is_that_of_the_paper():
    """The mean over answers of the means over their characters, by loops."""
    config = experiment.Config(layers=1, heads=2, features=16, clip=0.1, kl=0.3)
    network = make_network(config, context=experiment.QUESTION + experiment.ANSWER)
    model = models.gpt(network)
    params, reference = (model.init(jax.random.key(seed))[0] for seed in (0, 1))
    ids, lengths = experiment.ask(np.array([[5, 23], [128, 367]]))
    answers = experiment.put_together(ids, lengths, drawn(["28", "7+5"], -3.05), np.array([1.5, -0.5], np.float32))
    loss = experiment.grpo_loss(network, config)
    value, (_, measured) = jax.jit(lambda p: loss(p, {}, answers, key=None, train=True, constants=reference))(params)

    new, old = (
        np.asarray(jax.nn.log_softmax(model.apply(p, {}, jnp.asarray(answers.ids), train=False)[0]))
        for p in (params, reference)
    )
    losses, divergences = [], []
    for i, (text, begin) in enumerate([("28", 5), ("7+5", 8)]):
        terms, kls = [], []
        for place, token in enumerate([*VOCABULARY.encode(text), 1]):
            p, q = new[i, begin + place - 1, token], old[i, begin + place - 1, token]
            ratio, advantage = np.exp(p + 3.05), answers.advantages[i]
            kls.append(np.exp(q - p) - (q - p) - 1)
            terms.append(-min(ratio * advantage, np.clip(ratio, 0.9, 1.1) * advantage) + 0.3 * kls[-1])
        losses.append(np.mean(terms))
        divergences.append(np.mean(kls))
    np.testing.assert_allclose(value.compute(), np.mean(losses), rtol=1e-4)
    np.testing.assert_allclose(measured["kl"].compute(), np.mean(divergences), rtol=1e-3)
    assert 0 < measured["entropy"].compute() < np.log(VOCABULARY.size)
