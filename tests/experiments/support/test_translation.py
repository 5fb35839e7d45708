"""What the experiments on Multi30k share: texts, batches, the loss, the schedule, and the order of translations."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from experiments.support import translation
from experiments.support.translation import Network, Recipe, Task, Texts
from jaxnets import decode
from jaxnets.data import WordTokenizer
from jaxnets.data.multi30k import Multi30k, Pairs
from jaxnets.model import Model
from jaxnets.tree import count

WORDS = tuple("abcdefgh")
TOKENIZER = WordTokenizer(WORDS, split="spaces")


def copying():
    """A network that writes what it read."""

    def start(params, source):
        return jnp.asarray(source), jnp.zeros(len(source), jnp.int32)

    def step(carry, _):
        source, place = carry
        return 9.0 * jax.nn.one_hot(source[jnp.arange(len(source)), place], TOKENIZER.size), (source, place + 1)

    return Network(Model(None, None), start, lambda params: decode.one_by_one(step))


@pytest.mark.parametrize("beams", [1, 3])
def test_translations_are_in_the_order_of_the_texts(beams):
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, size=generator.integers(1, 9))) for _ in range(53)]
    task = Task({}, TOKENIZER, TOKENIZER, None, None)
    assert translation.translate(copying(), {}, task, texts, beams=beams) == texts


def test_the_loss_is_pytorchs_without_padding_and_filling():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(3, 4, 7)).astype(np.float32)
    target = np.array([[2, 5, 6, 4, 3], [2, 4, 3, 0, 0], [2, 5, 5, 5, 3]], np.int32)
    batch = {"source": target, "target": target, "weights": np.array([1, 1, 0], np.float32)}  # the last fills the batch
    model = Model(None, lambda params, state, inputs, *, key, train: (jnp.asarray(logits), state))
    for train, smoothing in ((True, 0.1), (False, 0.0)):
        loss = translation.translation_loss(model, label_smoothing=0.1)
        value, (_, measured) = loss({}, {}, jax.tree.map(jnp.asarray, batch), key=None, train=train)
        expected = torch.nn.functional.cross_entropy(
            torch.tensor(logits[:2]).flatten(0, 1),
            torch.tensor(target[:2, 1:]).long().flatten(),
            ignore_index=0,
            label_smoothing=smoothing,
        )
        np.testing.assert_allclose(value.compute(), expected, rtol=1e-5)
        right = (logits.argmax(-1) == target[:, 1:])[:2][target[:2, 1:] > 0]
        np.testing.assert_allclose(measured["accuracy"].compute(), right.mean(), rtol=1e-6)


def test_texts_are_lowercase_words_in_either_direction(monkeypatch):
    pairs = Pairs(["Ein Hund, der rennt."], ["A dog's running - in a T-shirt!"])
    monkeypatch.setattr(translation, "multi30k", lambda: Multi30k(*[pairs] * 5))
    german, english = "ein hund , der rennt .", "a dog's running - in a t-shirt !"
    texts = translation.load_texts("de-en", smoke=False)
    assert list(texts) == ["train", "validation", "test_2016", "test_2017", "coco"]
    assert texts["coco"] == Texts([german], [english])
    assert translation.load_texts("en-de", smoke=False)["train"] == Texts([english], [german])


def test_a_batch_has_about_as_many_positions_as_asked_for_and_the_epoch_every_pair_once():
    task = translation.load_task("de-en", Recipe(1, 64, 1e-3), seed=0, smoke=True)
    batches = list(task.train.in_order())
    assert all(batch["source"].size <= 64 for batch in batches)
    texts = [
        task.target.decode(row)
        for batch in batches
        for row, real in zip(batch["target"], batch["weights"], strict=True)
        if real
    ]
    assert sorted(texts) == sorted(task.texts["train"].target)


def test_the_rate_is_that_of_attention_is_all_you_need():
    """d^-0.5 min(step^-0.5, step warmup^-1.5), with the largest rate at the end of the warm-up."""
    warmup, largest = 20, 5e-3
    schedule = translation.make_schedule(Recipe(1, 1, largest, warmup, "inverse_sqrt"), 1_000)
    for step in (1, 7, 20, 21, 80, 1_000):
        expected = largest * warmup**0.5 * min(step**-0.5, step * warmup**-1.5)
        np.testing.assert_allclose(schedule(step), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "sizes", "published"),
    [("de-en reference", (7_853, 5_893), 9.04e6), ("en-de reference", (9_716, 9_716), 2.6e6)],
)
def test_full_networks_have_as_many_parameters_as_published(name, sizes, published):
    """The published network of 9.04 million has learned positions, 51,200 numbers, where ours has sines."""
    experiment = importlib.import_module("experiments.translate_transformer")
    tokenizers = [WordTokenizer(tuple(map(str, range(size - 4)))) for size in sizes]
    tokenizers = [tokenizers[0]] * 2 if name.startswith("en") else tokenizers
    network = experiment.make_network(name, Task({}, *tokenizers, None, None))
    params, _ = jax.eval_shape(network.model.init, jax.random.key(0))
    assert count(params) == pytest.approx(published, rel=0.02)


@pytest.mark.slow
def test_a_network_learns_a_few_sentences_by_heart(tmp_path, monkeypatch):
    experiment = importlib.import_module("experiments.translate_rnn")
    monkeypatch.setitem(experiment.RECIPES, "smoke", Recipe(60, 128, 1e-2, 10))
    monkeypatch.setitem(experiment.NETWORKS, "smoke", {"embedding": 16, "hidden": 32})
    result = experiment.run(experiment.Config(smoke=True, out=tmp_path))
    assert result["metrics"]["test_2016"] == {"bleu_greedy": pytest.approx(100), "bleu_beam": pytest.approx(100)}
    assert "greedy     a dog sees a bird ." in (tmp_path / "test_2016.txt").read_text()
