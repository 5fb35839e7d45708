"""Cases of resizing, of what tells a network a time or a condition, and of kernels computed of others."""

import functools

import jax.numpy as jnp

from jaxnets import nn
from tests.cases.case import Case, no_params
from tests.oracles import normal

IMAGE = normal(2, 3, 4, 4)
LARGER = {"method": "bilinear", "coordinates": "align_corners"}


def modulated(params, state, inputs, key):
    return nn.film(params, inputs["x"], inputs["condition"]), state


def divided(params, state, inputs, key, *, train):
    params, state = nn.spectral_norm(params, state, train=train)
    return nn.linear(params, inputs), state


def by_direction(params, state, inputs, key):
    return nn.conv(nn.weight_norm(params), inputs), state


CASES = [
    Case("resize-nearest", (nn.resize,), {}, no_params(nn.resize, size=(5, 3)), IMAGE),
    Case("resize-bilinear", (nn.resize,), {}, no_params(nn.resize, size=(5, 3), **LARGER), IMAGE),
    Case("upsample", (nn.upsample,), {}, no_params(nn.upsample, factor=2), IMAGE),
    Case("pixel-shuffle", (nn.pixel_shuffle,), {}, no_params(nn.pixel_shuffle, factor=2), IMAGE),
    Case("pixel-unshuffle", (nn.pixel_unshuffle,), {}, no_params(nn.pixel_unshuffle, factor=2), normal(2, 4, 2, 3)),
    Case(
        "time-embedding",
        (nn.time_embedding,),
        {},
        lambda params, state, inputs, key: (nn.time_embedding(inputs, 6, dtype=jnp.result_type(inputs)), state),
        normal(5),
    ),
    Case("film", (nn.film,), nn.film_spec(5, 4), modulated, {"x": IMAGE, "condition": normal(2, 5)}),
    Case(
        "spectral-norm",
        (nn.spectral_norm,),
        nn.spectral_norm_spec(nn.linear_spec(4, 3)),
        functools.partial(divided, train=True),
        normal(6, 4),
        state_of_parameters=True,
        differentiable=False,  # the singular vectors count as constants; tests/nn/test_weight_norm.py has gradients
    ),
    Case(
        "spectral-norm-evaluation",
        (nn.spectral_norm,),
        nn.spectral_norm_spec(nn.linear_spec(4, 3)),
        functools.partial(divided, train=False),
        normal(6, 4),
    ),
    Case("weight-norm", (nn.weight_norm,), nn.weight_norm_spec(nn.conv_spec(4, 3, (2, 2))), by_direction, IMAGE),
]
