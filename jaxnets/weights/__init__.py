"""Weights of other libraries: to and from their names and layouts, as plain dicts of numpy arrays."""

from jaxnets.weights.torch_recurrent import recurrent_from_torch, recurrent_to_torch

__all__ = ["recurrent_from_torch", "recurrent_to_torch"]
