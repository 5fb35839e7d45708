"""Plans the steps of experiments for Colab's TPU, with their networks and made-up data; prints what they need."""

import contextlib
import json
import sys
from unittest import mock

import jax
import numpy as np

from experiments import plain_loop
from experiments.support import forecasting, translation
from experiments.support.published_networks import NETWORKS
from jaxnets.data import Pairs, digits
from jaxnets.data.fashion_products import FashionProducts, Products
from jaxnets.experiment import classifier, runner
from jaxnets.plan.plan_step import Training, plan_training
from jaxnets.plan.program import find_training, load_program
from jaxnets.training import TrainState

SYLLABLES = ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "wi", "xo", "zu")


def without_smoke(config, presets, with_presets=runner.with_presets):
    """The settings of a full run; only the data are those of `--smoke`."""
    return with_presets(config, {flag: settings for flag, settings in presets.items() if flag != "smoke"})


def words(count, seed):
    """Made-up words, as different as those of a language."""
    letters = np.random.default_rng(seed).integers(0, len(SYLLABLES), (count, 5))
    return ["".join(SYLLABLES[i] for i in row) for row in letters]


def many_pairs():
    """As many words as Multi30k has that occur twice."""
    generator = np.random.default_rng(0)
    known = words(3500, 1), words(3500, 2)
    lengths = generator.integers(5, 20, 2000)
    return Pairs(*([" ".join(generator.choice(side, length)) for length in lengths] for side in known))


def many_products(count=1404):
    part = Products(
        np.zeros((count, 64, 48, 3), np.uint8),
        [f"{word} Men Red Shirt" for word in words(count, 3)],
        *(["Men"] * count, ["Shirts"] * count, ["Red"] * count),
    )
    return FashionProducts(part, part)


def whole(network):
    """A published network whose `--smoke` is of full size."""
    return network._replace(build=lambda classes, _: network.build(classes, False))


def many_images(shape, classes, size):
    """Enough images of every class for the experiments that divide or choose them."""
    return classifier.random_images(shape, tuple("0123456789"), max(size, 4000))


def camvid_images(shape, classes, size):
    return classifier.random_images((180, 240, 3), classes, size)


def made_up_data(name):
    """Data of the size that an experiment's settings need, where those of `--smoke` are too small."""
    waves = forecasting.waves
    changes = {
        "camvid_unet": {"experiments.camvid_unet.random_images": camvid_images},
        "forecast_ett": {"experiments.support.forecasting.waves": lambda hours: waves(17_420)},
        "products_clip": {"experiments.products_clip.made_up": many_products},
        "regularization_study": {"experiments.regularization_study.random_images": many_images},
        "transfer_products": {
            "experiments.transfer_products.random_images": many_images,
            "experiments.transfer_products.NETWORKS": {"resnet20": whole(NETWORKS["resnet20"])},
        },
        "translate_rnn": {"experiments.support.translation.load_texts": many_texts},
        "translate_transformer": {"experiments.support.translation.load_texts": many_texts},
    }
    return changes.get(name, {})


def many_texts(direction, *, smoke, load_texts=translation.load_texts):
    with mock.patch.object(translation, "made_up", many_pairs):
        return load_texts(direction, smoke=True)


def training_of(name, options):
    """The step of an experiment."""
    if name == "plain_loop":
        return plain_training()
    chosen_by_smoke = name.startswith("translate_")  # the network, too
    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(runner, "with_presets", without_smoke))
        for path, change in made_up_data(name).items():
            patches.enter_context(mock.patch(path, change))
        return find_training(load_program(name, [*([] if chosen_by_smoke else ["--smoke"]), *options]))


def plain_training():
    """The step that `plain_loop` writes by itself."""

    def step(train_state, batch):
        params, state, opt_state, value = plain_loop.train_step(
            train_state.params, train_state.state, train_state.opt_state, *batch, train_state.key
        )
        return train_state._replace(params=params, state=state, opt_state=opt_state), value

    params, state = plain_loop.init(plain_loop.SPEC, jax.random.key(0))
    train_state = TrainState.create(params, plain_loop.OPTIMIZER.init(params), state=state, seed=0)
    return Training(step, train_state, tuple(array[:64] for array in digits(0).train))


def plan(name, *options):
    training = training_of(name, options)
    planned = plan_training(training, "v5e:1x1")
    print(f"{name}: {planned}\n", file=sys.stderr)
    params = sum(leaf.size for leaf in jax.tree.leaves(training.train_state.params))
    return {"fits": planned.fits, "parameters": params, "used": planned.memory.used, "cycles": planned.cycles}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    print(json.dumps({words: plan(*words.split()) for words in sys.argv[1:]}))
