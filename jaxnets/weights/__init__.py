"""Weights in files and of other libraries, and whole networks as StableHLO."""

from jaxnets.weights.files import load, read_safetensors, read_torch, save
from jaxnets.weights.names import (
    efficientnet_names,
    googlenet_names,
    gpt_names,
    lenet5_names,
    mnist_cnn_names,
    resnet_names,
    vgg_names,
    vit_names,
)
from jaxnets.weights.stablehlo import export_model, load_exported
from jaxnets.weights.torch_modules import Names, Place, from_torch, to_torch
from jaxnets.weights.torch_recurrent import recurrent_from_torch, recurrent_to_torch

__all__ = [
    "Names",
    "Place",
    "efficientnet_names",
    "export_model",
    "from_torch",
    "googlenet_names",
    "gpt_names",
    "lenet5_names",
    "load",
    "load_exported",
    "mnist_cnn_names",
    "read_safetensors",
    "read_torch",
    "recurrent_from_torch",
    "recurrent_to_torch",
    "resnet_names",
    "save",
    "to_torch",
    "vgg_names",
    "vit_names",
]
