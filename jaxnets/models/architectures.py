"""Which function makes the network of which config, so that a saved network can be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxnets.config import ModelConfig
from jaxnets.model import Model
from jaxnets.models.adaline import AdalineConfig, adaline
from jaxnets.models.char_rnn import CharRNNConfig, char_rnn
from jaxnets.models.cifar_resnet import CifarResNetConfig, cifar_resnet
from jaxnets.models.efficientnet import EfficientNetConfig, efficientnet
from jaxnets.models.googlenet import GoogLeNetConfig, googlenet
from jaxnets.models.gpt import GPTConfig, gpt
from jaxnets.models.lenet5 import LeNet5Config, lenet5
from jaxnets.models.mlp import MLPConfig, mlp
from jaxnets.models.mnist_cnn import MnistCNNConfig, mnist_cnn
from jaxnets.models.perceptron import PerceptronConfig, perceptron
from jaxnets.models.resnet import ResNetConfig, resnet
from jaxnets.models.small_cnn import SmallCNNConfig, small_cnn
from jaxnets.models.threshold_neuron import (
    ThresholdNetworkConfig,
    ThresholdNeuronConfig,
    threshold_network,
    threshold_neuron,
)
from jaxnets.models.vgg import VGGConfig, vgg
from jaxnets.models.vit import ViTConfig, vit
from jaxnets.models.whitened_cnn import WhitenedCNNConfig, whitened_cnn

ARCHITECTURES: Mapping[type[ModelConfig], Callable[[Any], Model]] = {
    AdalineConfig: adaline,
    CharRNNConfig: char_rnn,
    CifarResNetConfig: cifar_resnet,
    EfficientNetConfig: efficientnet,
    GPTConfig: gpt,
    GoogLeNetConfig: googlenet,
    LeNet5Config: lenet5,
    MLPConfig: mlp,
    MnistCNNConfig: mnist_cnn,
    PerceptronConfig: perceptron,
    ResNetConfig: resnet,
    SmallCNNConfig: small_cnn,
    ThresholdNetworkConfig: threshold_network,
    ThresholdNeuronConfig: threshold_neuron,
    VGGConfig: vgg,
    ViTConfig: vit,
    WhitenedCNNConfig: whitened_cnn,
}
"""The function that makes the network of a config, by the config's class."""
