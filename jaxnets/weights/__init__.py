"""Weights in files and of other libraries, and whole networks in folders and as StableHLO."""

from jaxnets.weights.files import load, read_safetensors, read_torch, save
from jaxnets.weights.model_folder import load_model, save_model
from jaxnets.weights.names import Names, Place, torch_names
from jaxnets.weights.stablehlo import export_model, load_exported
from jaxnets.weights.torch_modules import from_torch, to_torch
from jaxnets.weights.torch_recurrent import recurrent_from_torch, recurrent_to_torch

__all__ = [
    "Names",
    "Place",
    "export_model",
    "from_torch",
    "load",
    "load_exported",
    "load_model",
    "read_safetensors",
    "read_torch",
    "recurrent_from_torch",
    "recurrent_to_torch",
    "save",
    "save_model",
    "to_torch",
    "torch_names",
]
