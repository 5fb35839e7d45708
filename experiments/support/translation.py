"""What the experiments on Multi30k have in common: texts, batches, the loss, training, and BLEU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import decode, losses, metrics, summary
from jaxnets.config import PositiveInt
from jaxnets.data import (
    Buckets,
    SubwordTokenizer,
    WordTokenizer,
    encode_all,
    make_buckets,
    multi30k,
    pad_sequences,
    save_tokenizer,
    until_end,
)
from jaxnets.data.multi30k import Pairs
from jaxnets.data.tokenizers import Tokenizer
from jaxnets.experiment import Findings, Settings, show_summary
from jaxnets.model import Model
from jaxnets.models import SourceTarget
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.training import (
    Checkpoints,
    Loss,
    TrainState,
    bucket_evaluate,
    bucket_step,
    fit,
    init_train_state,
    load_best,
    make_step,
    use_ema,
    with_ema,
)

PAD = 0
LONGEST = 64
"""How many tokens a translation has at most, with the one that ends it."""
AT_ONCE = 50
"""How many sentences are translated at a time."""
GREEDY = decode.Sampling(temperature=0.0)
Direction: TypeAlias = Literal["de-en", "en-de"]


@dataclasses.dataclass(frozen=True)
class TranslationSettings(Settings):
    """Settings that the experiments share."""

    seed: int = 0
    """Of the initial values, the batches and their order, and dropout."""
    size: Literal["small", "reference"] = "small"
    """Sizes and schedule for one core, or the published ones, for an accelerator."""
    epochs: int | None = None
    """How often the network sees every pair; None for the number that belongs to the size."""
    beams: PositiveInt = 5
    """How many beginnings beam search keeps."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a size is trained.

    Attributes:
        epochs: how often the network sees every pair.
        batch_tokens: positions of a batch, padding included: short sentences come in larger batches.
        learning_rate: the largest one.
        warmup: steps until it is reached.
        schedule: what follows: the same rate, one that falls with the square root of the step, or along a cosine to 0.
        clip: the largest norm of a gradient.
        beta2: Adam's.
        label_smoothing: of the training loss.
        average: the decay of the average of parameters that is evaluated; 0 for none.
        minimum_count: how often a word must occur to be a token.
        subwords: how many subwords both languages share instead of words; 0 for words.
    """

    epochs: int
    batch_tokens: int
    learning_rate: float
    warmup: int = 0
    schedule: Literal["constant", "inverse_sqrt", "cosine"] = "cosine"
    clip: float = 1.0
    beta2: float = 0.999
    label_smoothing: float = 0.0
    average: float = 0.0
    minimum_count: int = 2
    subwords: int = 0


class Texts(NamedTuple):
    """Sentences and their translations, in words divided by spaces, in lower case."""

    source: list[str]
    target: list[str]


class Task(NamedTuple):
    """The splits as texts by name, the tokenizers, and the batches to train on and to validate."""

    texts: dict[str, Texts]
    source: Tokenizer
    target: Tokenizer
    train: Buckets
    validation: Buckets


class Network(NamedTuple):
    """A network, and how to decode with it: `start(params, source)`, the carry, and `step(params)`."""

    model: Model
    start: Callable[..., Any]
    step: Callable[..., decode.Step]


def load_texts(direction: Direction, *, smoke: bool) -> dict[str, Texts]:
    """The splits train, validation, test_2016, test_2017 and coco, or sentences made up."""
    whole = {name: made_up() for name in ("train", "validation", "test_2016")} if smoke else multi30k()._asdict()
    divide = WordTokenizer((), lowercase=True).words_of

    def words(texts: Sequence[str]) -> list[str]:
        return [" ".join(divide(text)) for text in texts]

    splits = {name: (words(pairs.german), words(pairs.english)) for name, pairs in whole.items()}
    return {name: Texts(*(pair if direction == "de-en" else pair[::-1])) for name, pair in splits.items()}


def made_up() -> Pairs:
    """Pairs for `--smoke`, which need no file."""
    german, english = ("Hund", "Mann", "Vogel"), ("dog", "man", "bird")
    places = [(i % 3, i // 3 % 3) for i in range(18)]
    return Pairs(
        [f"Ein {german[a]} sieht einen {german[b]}." for a, b in places],
        [f"A {english[a]} sees a {english[b]}." for a, b in places],
    )


def load_task(direction: Direction, recipe: Recipe, *, seed: int, smoke: bool = False) -> Task:
    """Read the texts, learn the tokenizers from the training split, and make the batches."""
    texts = load_texts(direction, smoke=smoke)
    if recipe.subwords:
        both = [*texts["train"].source, *texts["train"].target]
        tokenizers: list[Tokenizer] = [SubwordTokenizer.of(both, size=recipe.subwords)] * 2
    else:
        least = recipe.minimum_count
        tokenizers = [WordTokenizer.of(side, minimum_count=least, split="spaces") for side in texts["train"]]
    source, target = tokenizers
    train, validation = (to_buckets(texts[name], source, target, recipe, seed) for name in ("train", "validation"))
    return Task(texts, source, target, train, validation)


def encode_pairs(texts: Texts, source: Tokenizer, target: Tokenizer) -> dict[str, list[np.ndarray]]:
    """Ids of the sources with their ends, and of the targets with begin and end."""
    return {
        "source": encode_all(source, texts.source, end=True),
        "target": encode_all(target, texts.target, begin=True, end=True),
    }


def to_buckets(texts: Texts, source: Tokenizer, target: Tokenizer, recipe: Recipe, seed: int) -> Buckets:
    """Batches of four lengths and about as many tokens each."""
    ids = encode_pairs(texts, source, target)
    longest = [max(len(a), len(b)) for a, b in zip(ids["source"], ids["target"], strict=True)]
    lengths = np.unique(np.quantile(longest, (0.4, 0.75, 0.95, 1), method="higher")).tolist()
    sizes = [max(1, recipe.batch_tokens // length) for length in lengths]
    return make_buckets(ids, lengths=lengths, batch_size=sizes, seed=seed, pad=PAD)


def translation_loss(model: Model, *, label_smoothing: float = 0.0) -> Loss:
    """The mean cross-entropy, in nats per token, of each target token after those before it."""

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        inputs, labels = SourceTarget(batch["source"], batch["target"][:, :-1]), batch["target"][:, 1:]
        logits, state = model.apply(params, state, inputs, key=key, train=train)
        real = (labels != PAD) * batch["weights"][:, None]
        smoothing = label_smoothing if train else 0.0
        mean = losses.sequence_cross_entropy(logits, labels, real, label_smoothing=smoothing)
        return mean, (state, {"loss": mean, "accuracy": metrics.accuracy(logits, labels, weights=real)})

    return loss


def make_schedule(recipe: Recipe, steps: int) -> optax.Schedule:
    """The learning rate of each step; in a short run the warm-up is a tenth of it."""
    warmup, rate = min(recipe.warmup, steps // 10), recipe.learning_rate
    after = {
        "constant": optax.constant_schedule(rate),
        "inverse_sqrt": lambda step: rate * jnp.sqrt(max(warmup, 1) / (step + max(warmup, 1))),
        "cosine": optax.cosine_decay_schedule(rate, steps - warmup),
    }[recipe.schedule]
    return optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), after], [warmup]) if warmup else after


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Adam with the schedule of the recipe, and the average of the parameters if there is one."""
    schedule = make_schedule(recipe, steps)
    adam = optax.chain(optax.clip_by_global_norm(recipe.clip), optax.adam(schedule, b2=recipe.beta2))
    return with_ema(adam, recipe.average) if recipe.average else adam


def train_and_test(
    config: TranslationSettings, recipe: Recipe, folder: RunFolder, task: Task, network: Network
) -> Findings:
    """Train, and translate the test sentences with the network of the least validation loss."""
    model, epochs = network.model, config.epochs or recipe.epochs
    optimizer = make_optimizer(recipe, epochs * task.train.steps_per_epoch)
    first = next(task.train.in_order())
    show_summary(folder, summary(model, SourceTarget(jnp.asarray(first["source"]), jnp.asarray(first["target"]))))

    def measured(train_state: TrainState) -> TrainState:
        return use_ema(train_state) if recipe.average else train_state

    of_buckets = bucket_evaluate(translation_loss(model))

    def evaluate(train_state: TrainState, groups: Any, constants: Any = None) -> Any:
        return of_buckets(measured(train_state), groups, constants)

    trained = fit(
        init_train_state(model, optimizer, config.seed),
        bucket_step(make_step(translation_loss(model, label_smoothing=recipe.label_smoothing), optimizer)),
        task.train.places,
        constants=task.train.groups,
        epochs=epochs,
        batch_size=1,
        evaluate=evaluate,
        validation=task.validation.groups,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    save_tokenizer(folder.path / "source", task.source)
    save_tokenizer(folder.path / "target", task.target)
    best = measured(load_best(folder.checkpoints, like=init_train_state(model, optimizer, config.seed)))
    numbers = test(config, folder, task, network, best.params)
    return Findings.of_fit(trained, trained.metrics | numbers, best.params)


def draw_curves(folder: RunFolder) -> None:
    """Draw the loss and the accuracy over the epochs."""
    plot_curves(folder.read_metrics(), folder.path / "curves.png")


def translate(network: Network, params: Any, task: Task, texts: Sequence[str], *, beams: int = 1) -> list[str]:
    """Translate texts by the likeliest next token each, or by beam search."""
    special = task.target.special
    begin, end = special["begin"], special["end"]

    @jax.jit
    def run(params: Any, source: Any) -> Any:
        first = jnp.full((source.shape[0], 1), begin, jnp.int32)
        carry, step = network.start(params, source), network.step(params)
        if beams == 1:
            return decode.generate(step, carry, first, LONGEST, sampling=GREEDY, stop=[end], pad=PAD).ids
        return decode.beam_search(step, carry, first, LONGEST, beams=beams, stop=[end], pad=PAD).ids[:, 0]

    ids = encode_all(task.source, texts, end=True)
    order = np.argsort([len(one) for one in ids], kind="stable")  # so that those of one batch end at about one time
    translated = [""] * len(texts)
    padded, _ = pad_sequences([ids[i] for i in order], max(len(one) for one in ids), PAD)
    for first in range(0, len(order), AT_ONCE):
        rows = np.resize(np.arange(first, min(first + AT_ONCE, len(order))), AT_ONCE)  # the last batch is filled up
        for place, answer in zip(order[first : first + AT_ONCE], np.asarray(run(params, padded[rows])), strict=False):
            translated[place] = task.target.decode(until_end(answer, end))
    return translated


def test(
    config: TranslationSettings, folder: RunFolder, task: Task, network: Network, params: Any
) -> dict[str, dict[str, float]]:
    """BLEU of the test splits, of words in lower case, greedy and with beams; the translations are written down."""
    numbers = {}
    for split in [name for name in task.texts if name not in ("train", "validation")]:
        source, reference = task.texts[split]
        greedy, beam = (translate(network, params, task, source, beams=n) for n in (1, config.beams))
        numbers[split] = {
            "bleu_greedy": metrics.bleu(greedy, reference, tokenize="none"),
            "bleu_beam": metrics.bleu(beam, reference, tokenize="none"),
        }
        print(f"{split}: BLEU {numbers[split]['bleu_greedy']:.2f} greedy, {numbers[split]['bleu_beam']:.2f} beam")
        rows = zip(source, reference, greedy, beam, strict=True)
        lines = [f"source     {s}\nreference  {r}\ngreedy     {g}\nbeam       {b}\n" for s, r, g, b in rows]
        (folder.path / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
    return numbers
