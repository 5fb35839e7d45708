"""Neural networks as plain functions, for JAX."""

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import ArraySpec, count_parameters, init, repeat_spec, torch_defaults

__version__ = "0.1.0"

__all__ = [
    "ArraySpec",
    "Model",
    "count_parameters",
    "init",
    "make_model",
    "nn",
    "repeat_spec",
    "subkey",
    "torch_defaults",
]
