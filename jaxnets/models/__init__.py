"""Networks, one architecture a file."""

from jaxnets.models.adaline import (
    adaline as adaline,
    adaline_apply as adaline_apply,
    adaline_rule as adaline_rule,
    adaline_spec as adaline_spec,
)
from jaxnets.models.char_rnn import (
    char_rnn as char_rnn,
    char_rnn_sequence as char_rnn_sequence,
    char_rnn_spec as char_rnn_spec,
    generate_characters as generate_characters,
)
from jaxnets.models.cifar_resnet import (
    cifar_resnet as cifar_resnet,
    cifar_resnet_apply as cifar_resnet_apply,
    cifar_resnet_spec as cifar_resnet_spec,
)
from jaxnets.models.efficientnet import (
    EFFICIENTNET_SCALES as EFFICIENTNET_SCALES,
    efficientnet as efficientnet,
    efficientnet_apply as efficientnet_apply,
    efficientnet_spec as efficientnet_spec,
    inverted_residual as inverted_residual,
)
from jaxnets.models.googlenet import (
    GoogLeNetOutputs as GoogLeNetOutputs,
    googlenet as googlenet,
    googlenet_apply as googlenet_apply,
    googlenet_loss as googlenet_loss,
    googlenet_spec as googlenet_spec,
    inception as inception,
)
from jaxnets.models.gpt import (
    generate_tokens as generate_tokens,
    gpt as gpt,
    gpt_apply as gpt_apply,
    gpt_spec as gpt_spec,
)
from jaxnets.models.lenet5 import lenet5 as lenet5, lenet5_apply as lenet5_apply, lenet5_spec as lenet5_spec
from jaxnets.models.mlp import mlp as mlp, mlp_apply as mlp_apply, mlp_spec as mlp_spec
from jaxnets.models.mnist_cnn import (
    mnist_cnn as mnist_cnn,
    mnist_cnn_apply as mnist_cnn_apply,
    mnist_cnn_spec as mnist_cnn_spec,
)
from jaxnets.models.perceptron import (
    LearnedPerceptron as LearnedPerceptron,
    perceptron as perceptron,
    perceptron_apply as perceptron_apply,
    perceptron_fit as perceptron_fit,
    perceptron_path as perceptron_path,
    perceptron_rule as perceptron_rule,
    perceptron_spec as perceptron_spec,
)
from jaxnets.models.resnet import resnet as resnet, resnet_apply as resnet_apply, resnet_spec as resnet_spec
from jaxnets.models.small_cnn import (
    small_cnn as small_cnn,
    small_cnn_apply as small_cnn_apply,
    small_cnn_spec as small_cnn_spec,
)
from jaxnets.models.threshold_neuron import (
    threshold_network as threshold_network,
    threshold_network_apply as threshold_network_apply,
    threshold_network_spec as threshold_network_spec,
    threshold_neuron as threshold_neuron,
    threshold_neuron_apply as threshold_neuron_apply,
    threshold_neuron_spec as threshold_neuron_spec,
)
from jaxnets.models.vgg import vgg as vgg, vgg_apply as vgg_apply, vgg_spec as vgg_spec
from jaxnets.models.vit import vit as vit, vit_apply as vit_apply, vit_spec as vit_spec
from jaxnets.models.whitened_cnn import (
    whitened_cnn as whitened_cnn,
    whitened_cnn_apply as whitened_cnn_apply,
    whitened_cnn_spec as whitened_cnn_spec,
    whitening_kernel as whitening_kernel,
)
