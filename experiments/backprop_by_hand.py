"""A worked example of backpropagation, by hand and by jax.grad side by side.

Two inputs, two hidden units, one output, no biases, no activations: h1 = x1 w1 + x2 w2, h2 = x1 w3 + x2 w4, prediction
y = h1 w5 + h2 w6, error (y - target)^2 / 2.

expected:  prediction 0.191, error 0.327, delta -0.809, then prediction 0.26
time:      2 s
compile:   0.7 s of processor time until the first steps are done, on an Intel Xeon
hardware:  any
command:   python -m experiments.backprop_by_hand
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.playground.backprop import error, gradient_by_hand, predict
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """The numbers of the example."""

    seed: int = 0
    """Of nothing: no number of the example is random."""
    inputs: tuple[float, float] = (2.0, 3.0)
    """x1 and x2."""
    target: float = 1.0
    """What the prediction should be."""
    weights: tuple[float, float, float, float, float, float] = (0.11, 0.21, 0.12, 0.08, 0.14, 0.15)
    """w1 to w6."""
    learning_rate: float = 0.05
    """By which the gradient is multiplied before it is subtracted."""


@in_run_folder()
def run(config: Config, folder: RunFolder) -> Findings:
    """Print the example, and return its numbers."""
    weights, inputs = np.array(config.weights), np.array(config.inputs)
    prediction = float(predict(weights, inputs))
    print(f"prediction {prediction:.3f}")
    print(f"error      {error(weights, inputs, config.target):.3f}")
    print(f"delta      {prediction - config.target:.3f}")

    by_hand = gradient_by_hand(weights, inputs, config.target)
    by_jax = np.asarray(jax.grad(error)(jnp.asarray(weights), jnp.asarray(inputs), config.target))
    new = weights - config.learning_rate * by_hand
    new_by_jax = weights - config.learning_rate * by_jax
    print("\n        weight   gradient   jax.grad   new weight   with jax.grad")
    for i in range(6):
        numbers = f"{weights[i]:>8.2f} {by_hand[i]:>10.5f} {by_jax[i]:>10.5f} {new[i]:>12.5f} {new_by_jax[i]:>15.5f}"
        print(f"    w{i + 1} {numbers}")
    second = float(predict(new, inputs))
    print(f"\nnext prediction {second:.2f}")

    measured: list[dict[str, Any]] = [
        {"prediction": y, "error": float(error(at, inputs, config.target)), "delta": y - config.target}
        for at, y in ((weights, prediction), (new, second))
    ]
    for step, row in enumerate(measured):
        folder.append_metrics(step=step, epoch=step, split="train", metrics=row)
    arrays = {"gradient": by_hand.tolist(), "gradient_by_jax": by_jax.tolist(), "weights": new.tolist()}
    return Findings({"before": measured[0], "after": measured[1] | arrays}, {"weights": new})


if __name__ == "__main__":
    main(Config, run, __doc__)
