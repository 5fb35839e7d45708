"""Plans the steps of experiments for Colab's TPU, with their networks and made-up data; prints what they need."""

import json
import sys
from unittest import mock

import jax

from jaxnets.experiment import runner
from jaxnets.plan.plan_step import plan_training
from jaxnets.plan.program import find_training, load_program


def without_smoke(config, presets, with_presets=runner.with_presets):
    """The settings of a full run; only the data are those of `--smoke`."""
    return with_presets(config, {flag: settings for flag, settings in presets.items() if flag != "smoke"})


def plan(name, *options):
    with mock.patch.object(runner, "with_presets", without_smoke):
        training = find_training(load_program(name, ["--smoke", *options]))
    planned = plan_training(training, "v5e:1x1")
    print(f"{name}: {planned}\n", file=sys.stderr)
    params = sum(leaf.size for leaf in jax.tree.leaves(training.train_state.params))
    return {"fits": planned.fits, "parameters": params, "used": planned.memory.used, "cycles": planned.cycles}


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    print(json.dumps({words: plan(*words.split()) for words in sys.argv[1:]}))
