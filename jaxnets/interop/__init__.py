"""Interoperation with Flax: Flax modules as models, and models as Flax modules.

Flax is imported when one of these functions is called.
"""

from jaxnets.interop.linen import TrainArgument as TrainArgument, from_linen as from_linen, to_linen as to_linen
from jaxnets.interop.nnx import from_nnx as from_nnx, to_nnx as to_nnx
