"""Networks, one architecture a file."""

from jaxnets.models.adaline import adaline, adaline_apply, adaline_rule, adaline_spec
from jaxnets.models.char_rnn import char_rnn, char_rnn_sequence, char_rnn_spec, generate_characters
from jaxnets.models.cifar_resnet import cifar_resnet, cifar_resnet_apply, cifar_resnet_spec
from jaxnets.models.efficientnet import (
    EFFICIENTNET_SCALES,
    efficientnet,
    efficientnet_apply,
    efficientnet_spec,
    inverted_residual,
)
from jaxnets.models.googlenet import (
    GoogLeNetOutputs,
    googlenet,
    googlenet_apply,
    googlenet_loss,
    googlenet_spec,
    inception,
)
from jaxnets.models.gpt import generate_tokens, gpt, gpt_apply, gpt_spec
from jaxnets.models.lenet5 import lenet5, lenet5_apply, lenet5_spec
from jaxnets.models.mlp import mlp, mlp_apply, mlp_spec
from jaxnets.models.mnist_cnn import mnist_cnn, mnist_cnn_apply, mnist_cnn_spec
from jaxnets.models.perceptron import (
    LearnedPerceptron,
    perceptron,
    perceptron_apply,
    perceptron_fit,
    perceptron_path,
    perceptron_rule,
    perceptron_spec,
)
from jaxnets.models.resnet import resnet, resnet_apply, resnet_spec
from jaxnets.models.small_cnn import small_cnn, small_cnn_apply, small_cnn_spec
from jaxnets.models.threshold_neuron import (
    threshold_network,
    threshold_network_apply,
    threshold_network_spec,
    threshold_neuron,
    threshold_neuron_apply,
    threshold_neuron_spec,
)
from jaxnets.models.vgg import vgg, vgg_apply, vgg_spec
from jaxnets.models.vit import vit, vit_apply, vit_spec
from jaxnets.models.whitened_cnn import whitened_cnn, whitened_cnn_apply, whitened_cnn_spec, whitening_kernel

__all__ = [
    "EFFICIENTNET_SCALES",
    "GoogLeNetOutputs",
    "LearnedPerceptron",
    "adaline",
    "adaline_apply",
    "adaline_rule",
    "adaline_spec",
    "char_rnn",
    "char_rnn_sequence",
    "char_rnn_spec",
    "cifar_resnet",
    "cifar_resnet_apply",
    "cifar_resnet_spec",
    "efficientnet",
    "efficientnet_apply",
    "efficientnet_spec",
    "generate_characters",
    "generate_tokens",
    "googlenet",
    "googlenet_apply",
    "googlenet_loss",
    "googlenet_spec",
    "gpt",
    "gpt_apply",
    "gpt_spec",
    "inception",
    "inverted_residual",
    "lenet5",
    "lenet5_apply",
    "lenet5_spec",
    "mlp",
    "mlp_apply",
    "mlp_spec",
    "mnist_cnn",
    "mnist_cnn_apply",
    "mnist_cnn_spec",
    "perceptron",
    "perceptron_apply",
    "perceptron_fit",
    "perceptron_path",
    "perceptron_rule",
    "perceptron_spec",
    "resnet",
    "resnet_apply",
    "resnet_spec",
    "small_cnn",
    "small_cnn_apply",
    "small_cnn_spec",
    "threshold_network",
    "threshold_network_apply",
    "threshold_network_spec",
    "threshold_neuron",
    "threshold_neuron_apply",
    "threshold_neuron_spec",
    "vgg",
    "vgg_apply",
    "vgg_spec",
    "vit",
    "vit_apply",
    "vit_spec",
    "whitened_cnn",
    "whitened_cnn_apply",
    "whitened_cnn_spec",
    "whitening_kernel",
]
