"""Layers: each a spec of its arrays and a pure function of them, one family a file."""

from jaxnets.nn import initializers
from jaxnets.nn.linear import linear, linear_spec

LAYERS = (
    "linear",
)
"""The names of the layers: what the tests cross with every property of the contract."""

__all__ = [
    "LAYERS",
    "initializers",
    "linear",
    "linear_spec",
]
