"""CLIP on 6,000 pictures of products (64 x 48 pixels) and their titles: search both ways, and classes by their names.

expected:  recall at 1, 5 and 10 among 1,000, mean of the seeds 0 to 2: the title of a picture 0.122, 0.375 and 0.535,
           the picture of a title 0.126, 0.377 and 0.543; guessing has 0.001, 0.005 and 0.010. Without examples 0.326 of
           the kinds and 0.282 of the colors are right; the most frequent ones have 0.188 and 0.194. With --epochs 16:
           0.091, 0.300 and 0.453; 0.083, 0.303 and 0.461; kinds 0.231, colors 0.262
time:      12 min on one core of a CPU, 28 beside much other work; 4 min on a GPU that is shared
compile:   31 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon, jax 0.10.2; seed 0 also on an NVIDIA H100, jax 0.11.2
command:   python -m experiments.products_clip --seed 0
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxnets import losses, metrics, models, regularizers, subkey, summary
from jaxnets.config import PositiveInt
from jaxnets.data import (
    FashionProducts,
    Products,
    WordTokenizer,
    encode_all,
    fashion_products,
    pad_sequences,
    save_tokenizer,
)
from jaxnets.data.augment import random_flip
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, main, show_summary
from jaxnets.model import Model
from jaxnets.report import RunFolder, plot_curves, progress, record_metrics
from jaxnets.report.style import save
from jaxnets.training import Checkpoints, Loss, fit, init_train_state, make_step, steps_per_epoch

CONTEXT, SHOWN = 16, 6
LARGEST_SCALE = 100.0


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the initial values, the batches and the mirrored pictures."""
    epochs: int = 30
    batch_size: int = 200
    """Pairs, each of which is compared with all others of its batch."""
    learning_rate: float = 1e-3
    """AdamW's after warm-up; it falls to zero along a cosine."""
    weight_decay: float = 0.1
    dropout_rate: float = 0.1
    features: PositiveInt = 96
    """Of patches and tokens."""
    layers: PositiveInt = 3
    """Blocks of each half."""
    size: Literal["small", "reference"] = "small"
    """reference takes the settings of `REFERENCE` instead of those given."""

    @property
    def reference(self) -> bool:
        """Whether the settings of `REFERENCE` are taken."""
        return self.size == "reference"


REFERENCE: dict[str, Any] = {"epochs": 60, "dropout_rate": 0.2, "features": 256, "layers": 6, "learning_rate": 5e-4}
"""A larger network, for an accelerator."""


def made_up() -> FashionProducts:
    """Products for `--smoke`, whose color is that of the picture."""
    colors = ["Red", "Green", "Blue"]
    images = np.zeros((12, 64, 48, 3), np.uint8)
    for i in range(12):
        images[i, ..., i % 3] = 20 * i
    names = [colors[i % 3] for i in range(12)]
    part = Products(
        images, [f"Brand{i} Men {name} Shirt" for i, name in enumerate(names)], ["Men"] * 12, ["Shirts"] * 12, names
    )
    return FashionProducts(part, part)


def make_ids(tokenizer: WordTokenizer, texts: list[str]) -> np.ndarray:
    """Ids `[texts, CONTEXT]`, each with the end of text."""
    return pad_sequences(encode_all(tokenizer, texts, end=True), CONTEXT)[0]


def make_network(config: Config, tokenizer: WordTokenizer) -> Model:
    """Two small Transformers; the pictures go through two convolutions first, to 8 x 6 patches."""
    heads = config.features // 32
    return models.clip(
        models.CLIPConfig(
            image_size=(64, 48),
            patch_size=2,
            stem=(32, 64),
            vocabulary=tokenizer.size,
            context=CONTEXT,
            end_of_text=tokenizer.special["end"],
            embedding=config.features,
            dropout_rate=config.dropout_rate,
            image_layers=config.layers,
            image_heads=heads,
            image_features=config.features,
            text_layers=config.layers,
            text_heads=heads,
            text_features=config.features,
        )
    )


def scaled(images: Any) -> Any:
    """Pixels in [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1


def contrastive_loss(model: Model) -> Loss:
    """InfoNCE both ways; pairs of a batch with the same title, two in 200, count as each other's mistakes."""

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        images, ids = batch
        images = random_flip(scaled(images), key=subkey(key, "mirror")) if train else scaled(images)
        inputs = models.CLIPInputs(images, ids)
        (pictures, texts, log_scale), state = model.apply(params, state, inputs, key=key, train=train)
        values = losses.info_nce(pictures, texts, jnp.minimum(log_scale, jnp.log(LARGEST_SCALE)))
        return jnp.mean(values), (
            state,
            {"loss": metrics.mean(values), "scale": metrics.mean(jnp.exp(log_scale)[None])},
        )

    return loss


def embed(model: Model, params: Any, images: np.ndarray, ids: np.ndarray) -> tuple[Any, Any]:
    """Vectors of pictures, in parts that fit into memory, and of texts."""
    config: Any = model.config
    of_images = jax.jit(lambda x: models.clip_images(config, params, scaled(x)))
    vectors = [of_images(images[i : i + 250]) for i in range(0, len(images), 250)]
    return jnp.concatenate(vectors), jax.jit(lambda ids: models.clip_texts(config, params, ids))(ids)


def singular_words(text: str) -> list[str]:
    """The words in lower case, without hyphens and plural endings, which names have and titles have not."""
    return [re.sub("(ch|sh|ss)es$|(?<!s)s$", r"\1", word.replace("-", "")) for word in text.lower().split()]


def titles_with(name: str, titles: list[str]) -> list[str]:
    """The titles that have all words of a name, or the name itself if none has."""
    words = set(singular_words(name))
    return [title for title in titles if words <= set(singular_words(title))] or [name]


def zero_shot(
    model: Model, params: Any, tokenizer: WordTokenizer, images: Any, classes: list[str], titles: list[str]
) -> list[str]:
    """The class nearest to each picture; that of a class is the mean of the training titles that have its name."""
    names = sorted(set(classes) - {""})
    config: Any = model.config
    of_texts = jax.jit(lambda ids: models.clip_texts(config, params, ids))
    vectors = dict(zip(titles, np.asarray(of_texts(make_ids(tokenizer, titles))), strict=True))
    vectors |= dict(zip(names, np.asarray(of_texts(make_ids(tokenizer, names))), strict=True))
    means = np.stack([np.mean([vectors[title] for title in titles_with(name, titles)], axis=0) for name in names])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return [names[i] for i in np.argmax(np.asarray(images) @ means.T, axis=1)]


def test(
    model: Model, params: Any, tokenizer: WordTokenizer, products: Products, titles: list[str]
) -> tuple[dict[str, float], np.ndarray]:
    """Recalls both ways and accuracies without examples; and the cosines of all pictures with all titles."""
    images, texts = embed(model, params, products.images, make_ids(tokenizer, products.captions))
    cosines = images @ texts.T
    numbers = {}
    for k in (1, 5, 10):
        numbers[f"text_recall_at_{k}"] = float(metrics.recall_at_k(cosines, k=k).compute())
        numbers[f"image_recall_at_{k}"] = float(metrics.recall_at_k(cosines.T, k=k).compute())
    for name, classes in (("article_type", products.article_types), ("color", products.colors)):
        found = zero_shot(model, params, tokenizer, images, classes, titles)
        numbers[f"{name}_accuracy"] = float(np.mean([a == b for a, b in zip(found, classes, strict=True) if b]))
        numbers[f"{name}_most_frequent"] = max(Counter(filter(None, classes)).values()) / sum(map(bool, classes))
    return numbers, np.asarray(cosines)


def draw(folder: RunFolder, products: Products, cosines: np.ndarray) -> None:
    """Draw the curves, and beside some pictures the three titles nearest to each; its own is marked."""
    plot_curves(folder.read_metrics(), folder.path / "curves.png")
    figure = Figure(figsize=(9, 1.3 * SHOWN), layout="constrained")
    for row in range(SHOWN):
        picture, text = (
            figure.add_subplot(SHOWN, 4, 4 * row + 1),
            figure.add_subplot(SHOWN, 4, (4 * row + 2, 4 * row + 4)),
        )
        picture.imshow(products.images[row])
        for line, i in enumerate(np.argsort(-cosines[row])[:3]):
            mark = "  <- its title" if i == row else ""
            text.text(0, 0.75 - 0.25 * line, f"{cosines[row, i]:.2f}  {products.captions[i]}{mark}", parse_math=False)
        picture.axis("off")
        text.axis("off")
    save(figure, folder.path / "nearest.png")


@in_run_folder(reference=REFERENCE, smoke={"epochs": 1, "batch_size": 6, "features": 32, "layers": 1})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, search, classify, and draw."""
    products = made_up() if config.smoke else fashion_products()
    tokenizer = WordTokenizer.of(
        products.train.captions, minimum_count=2, special_names=("pad", "unknown", "end"), lowercase=True
    )
    save_tokenizer(folder.path, tokenizer)
    data = products.train.images, make_ids(tokenizer, products.train.captions)
    model = make_network(config, tokenizer)
    show_summary(folder, summary(model, models.CLIPInputs(scaled(data[0][:2]), jnp.asarray(data[1][:2]))))
    steps = config.epochs * steps_per_epoch(len(data[1]), config.batch_size)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 20, steps)
    adamw = optax.adamw(schedule, weight_decay=config.weight_decay, mask=regularizers.decay_mask)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adamw)
    trained = fit(
        init_train_state(model, optimizer, config.seed),
        make_step(contrastive_loss(model), optimizer),
        data,
        epochs=config.epochs,
        batch_size=config.batch_size,
        callbacks=[progress(), record_metrics(folder)],
        checkpoints=Checkpoints(folder.checkpoints),
    )
    params = trained.train_state.params
    numbers, cosines = test(model, params, tokenizer, products.test, products.train.captions)
    folder.append_metrics(step=steps, epoch=float(config.epochs), split="test", metrics=numbers)
    print(", ".join(f"{name} {value:.4f}" for name, value in numbers.items()))
    found = Findings.of_fit(trained, trained.metrics | {"test": numbers}, params)
    return found._replace(draw=lambda: draw(folder, products.test, cosines))


if __name__ == "__main__":
    main(Config, run, __doc__)
