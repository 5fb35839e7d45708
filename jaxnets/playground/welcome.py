"""What the page has to know before it shows anything: what there is to choose, and what the features look like."""

from __future__ import annotations

import base64
import dataclasses
import functools
from typing import Any

import numpy as np

from jaxnets.data.playground import FEATURES, REGRESSION, SETS
from jaxnets.playground.network import make_data
from jaxnets.playground.pictures import EXTENT, PIXELS, SMALL, feature_pictures
from jaxnets.playground.seeds import SEEDS
from jaxnets.playground.settings import (
    ACTIVATIONS,
    EXAMPLES,
    MAX_EPOCHS,
    MAX_LAYERS,
    MAX_NEURONS,
    REGULARIZATIONS,
    PlaygroundSettings,
)

RATES = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
REGULARIZATION_RATES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The rates to choose from, those of the Playground."""
SHOWN = 300
"""How many points of a small picture of a data set are sent."""


@functools.cache
def welcome() -> dict[str, Any]:
    """Everything that there is to choose, and pictures of the data sets and the features."""
    plane = PlaygroundSettings(features=("x1", "x2"))
    sets = {name: make_data(dataclasses.replace(plane, data=name), 0).train for name in SETS}
    return {
        "defaults": plane.to_dict(),
        "sets": {name: _rows((points[:SHOWN], labels[:SHOWN])) for name, (points, labels) in sets.items()},
        "regression": list(REGRESSION),
        "features": {name: base64.b64encode(feature_pictures()[name].tobytes()).decode() for name in FEATURES},
        "activations": list(ACTIVATIONS),
        "regularizations": list(REGULARIZATIONS),
        "rates": RATES,
        "regularization_rates": REGULARIZATION_RATES,
        "examples": {name: settings.to_dict() for name, settings in EXAMPLES.items()},
        "limits": {"layers": MAX_LAYERS, "neurons": MAX_NEURONS, "epochs": MAX_EPOCHS},
        "extent": EXTENT,
        "pixels": PIXELS,
        "small": PIXELS // SMALL,
        "seeds": SEEDS,
    }


def sample_points(settings: PlaygroundSettings) -> dict[str, list[list[float]]]:
    """The points of both splits: x1, x2 and label of each."""
    data = make_data(dataclasses.replace(settings, features=("x1", "x2")), settings.data_seed)
    return {"train": _rows(data.train), "test": _rows(data.test)}


def _rows(split: tuple[np.ndarray, np.ndarray]) -> list[list[float]]:
    """x1, x2 and label of each point, as exact as pixels need."""
    rows: list[list[float]] = np.column_stack([split[0], split[1]]).astype(float).round(3).tolist()
    return rows
