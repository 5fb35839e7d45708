"""Networks, one architecture a file: `model = gpt(GPTConfig(vocabulary=65, context=64))`, and so for all."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxnets.config import ModelConfig
from jaxnets.model import Model
from jaxnets.models.adaline import AdalineConfig, adaline, adaline_rule
from jaxnets.models.char_rnn import CharRNNConfig, char_rnn, char_rnn_sequence, generate_characters
from jaxnets.models.cifar_resnet import CifarResNetConfig, cifar_resnet
from jaxnets.models.efficientnet import EfficientNetConfig, efficientnet, efficientnet_config, inverted_residual
from jaxnets.models.googlenet import GoogLeNetConfig, GoogLeNetOutputs, googlenet, googlenet_loss, inception
from jaxnets.models.gpt import GPTConfig, generate_tokens, gpt
from jaxnets.models.lenet5 import LeNet5Config, lenet5
from jaxnets.models.mlp import MLPConfig, mlp
from jaxnets.models.mnist_cnn import MnistCNNConfig, mnist_cnn
from jaxnets.models.perceptron import (
    LearnedPerceptron,
    PerceptronConfig,
    perceptron,
    perceptron_fit,
    perceptron_path,
    perceptron_rule,
)
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
from jaxnets.models.whitened_cnn import WhitenedCNNConfig, whitened_cnn, whitening_kernel

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

__all__ = [
    "ARCHITECTURES",
    "AdalineConfig",
    "CharRNNConfig",
    "CifarResNetConfig",
    "EfficientNetConfig",
    "GPTConfig",
    "GoogLeNetConfig",
    "GoogLeNetOutputs",
    "LeNet5Config",
    "LearnedPerceptron",
    "MLPConfig",
    "MnistCNNConfig",
    "PerceptronConfig",
    "ResNetConfig",
    "SmallCNNConfig",
    "ThresholdNetworkConfig",
    "ThresholdNeuronConfig",
    "VGGConfig",
    "ViTConfig",
    "WhitenedCNNConfig",
    "adaline",
    "adaline_rule",
    "char_rnn",
    "char_rnn_sequence",
    "cifar_resnet",
    "efficientnet",
    "efficientnet_config",
    "generate_characters",
    "generate_tokens",
    "googlenet",
    "googlenet_loss",
    "gpt",
    "inception",
    "inverted_residual",
    "lenet5",
    "mlp",
    "mnist_cnn",
    "perceptron",
    "perceptron_fit",
    "perceptron_path",
    "perceptron_rule",
    "resnet",
    "small_cnn",
    "threshold_network",
    "threshold_neuron",
    "vgg",
    "vit",
    "whitened_cnn",
    "whitening_kernel",
]
