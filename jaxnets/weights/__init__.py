"""Weights in files and of other libraries, and whole networks as StableHLO."""

from jaxnets.weights.files import (
    load as load,
    read_safetensors as read_safetensors,
    read_torch as read_torch,
    save as save,
)
from jaxnets.weights.names import (
    efficientnet_names as efficientnet_names,
    googlenet_names as googlenet_names,
    gpt_names as gpt_names,
    lenet5_names as lenet5_names,
    mnist_cnn_names as mnist_cnn_names,
    resnet_names as resnet_names,
    vgg_names as vgg_names,
    vit_names as vit_names,
)
from jaxnets.weights.stablehlo import export_model as export_model, load_exported as load_exported
from jaxnets.weights.torch_modules import Names as Names, Place as Place, from_torch as from_torch, to_torch as to_torch
from jaxnets.weights.torch_recurrent import (
    recurrent_from_torch as recurrent_from_torch,
    recurrent_to_torch as recurrent_to_torch,
)
