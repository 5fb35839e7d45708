"""Neural networks as plain functions, for JAX.

The layers are in `jaxnets.nn`, networks in `jaxnets.models`, the training step and loop in `jaxnets.training`, chains
of layers without writing a function in `jaxnets.combinators`, data sets in `jaxnets.data`, run folders and pictures in
`jaxnets.report`.
"""

from jaxnets import losses, metrics, nn, regularizers, tree
from jaxnets.flops import count_flops
from jaxnets.layer import layer
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import ArraySpec, count_parameters, init, repeat_spec, torch_defaults
from jaxnets.summary import Summary, summary

__version__ = "0.1.0"

__all__ = [
    "ArraySpec",
    "Model",
    "Summary",
    "count_flops",
    "count_parameters",
    "init",
    "layer",
    "losses",
    "make_model",
    "metrics",
    "nn",
    "regularizers",
    "repeat",
    "repeat_spec",
    "subkey",
    "summary",
    "torch_defaults",
    "tree",
]
