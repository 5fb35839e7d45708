"""Interoperation with Flax: Flax modules as models, and models as Flax modules.

Flax is imported when one of these functions is called.
"""

from jaxnets.interop.linen import TrainArgument, from_linen, to_linen
from jaxnets.interop.nnx import from_nnx, to_nnx

__all__ = ["TrainArgument", "from_linen", "from_nnx", "to_linen", "to_nnx"]
