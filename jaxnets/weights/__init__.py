"""Weights in files and of other libraries, and whole networks in folders and as StableHLO."""

from jaxnets.weights.files import (
    load as load,
    read_safetensors as read_safetensors,
    save as save,
)
from jaxnets.weights.hugging_face import load_hugging_face as load_hugging_face
from jaxnets.weights.model_folder import load_model as load_model, save_model as save_model
from jaxnets.weights.names import Names as Names, Place as Place, torch_names as torch_names
from jaxnets.weights.stablehlo import export_model as export_model, load_exported as load_exported
from jaxnets.weights.torch_files import read_torch as read_torch
from jaxnets.weights.torch_modules import from_torch as from_torch, to_torch as to_torch
from jaxnets.weights.torch_recurrent import (
    recurrent_from_torch as recurrent_from_torch,
    recurrent_to_torch as recurrent_to_torch,
)
