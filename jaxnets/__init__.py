"""Neural networks as plain functions, for JAX.

The layers are in `jaxnets.nn`, networks in `jaxnets.models`, the training step and loop in `jaxnets.training`, chains
of layers without writing a function in `jaxnets.combinators`, data sets in `jaxnets.data`, run folders and pictures in
`jaxnets.report`, sound in `jaxnets.audio`, learning from rewards in `jaxnets.policy_gradient`.
"""

from jaxnets import (
    ctc as ctc,
    diffusion as diffusion,
    losses as losses,
    metrics as metrics,
    nn as nn,
    policy_gradient as policy_gradient,
    regularizers as regularizers,
    tree as tree,
)
from jaxnets.flops import count_flops as count_flops
from jaxnets.layer import layer as layer
from jaxnets.lora import lora_merge as lora_merge, lora_spec as lora_spec, lora_unmerge as lora_unmerge
from jaxnets.model import Model as Model, make_model as make_model
from jaxnets.random import subkey as subkey
from jaxnets.repeat import repeat as repeat, unstack as unstack
from jaxnets.spec import (
    ArraySpec as ArraySpec,
    count_parameters as count_parameters,
    init as init,
    repeat_spec as repeat_spec,
    torch_defaults as torch_defaults,
)
from jaxnets.summary import Summary as Summary, summary as summary

__version__ = "0.1.0"
