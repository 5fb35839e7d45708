"""Networks, one architecture a file: `model = gpt(GPTConfig(vocabulary=65, context=64))`, and so for all."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxnets.config import ModelConfig
from jaxnets.model import Model
from jaxnets.models.adaline import AdalineConfig as AdalineConfig, adaline as adaline, adaline_rule as adaline_rule
from jaxnets.models.autoencoder import (
    AutoencoderConfig as AutoencoderConfig,
    autoencoder as autoencoder,
    autoencoder_decode as autoencoder_decode,
    autoencoder_encode as autoencoder_encode,
)
from jaxnets.models.bert import (
    BertConfig as BertConfig,
    BertInputs as BertInputs,
    bert as bert,
    mean_embedding as mean_embedding,
)
from jaxnets.models.char_rnn import (
    CharRNNConfig as CharRNNConfig,
    char_rnn as char_rnn,
    char_rnn_carry as char_rnn_carry,
    char_rnn_sequence as char_rnn_sequence,
    char_rnn_step as char_rnn_step,
    generate_characters as generate_characters,
)
from jaxnets.models.cifar_resnet import CifarResNetConfig as CifarResNetConfig, cifar_resnet as cifar_resnet
from jaxnets.models.clip import (
    CLIPConfig as CLIPConfig,
    CLIPInputs as CLIPInputs,
    CLIPOutputs as CLIPOutputs,
    clip as clip,
    clip_images as clip_images,
    clip_texts as clip_texts,
)
from jaxnets.models.dcgan import (
    DCGANDiscriminatorConfig as DCGANDiscriminatorConfig,
    DCGANGeneratorConfig as DCGANGeneratorConfig,
    dcgan_discriminator as dcgan_discriminator,
    dcgan_generator as dcgan_generator,
)
from jaxnets.models.diffusion_unet import (
    DiffusionInputs as DiffusionInputs,
    DiffusionUNetConfig as DiffusionUNetConfig,
    diffusion_unet as diffusion_unet,
)
from jaxnets.models.dlinear import DLinearConfig as DLinearConfig, dlinear as dlinear
from jaxnets.models.efficientnet import (
    EfficientNetConfig as EfficientNetConfig,
    efficientnet as efficientnet,
    efficientnet_config as efficientnet_config,
    inverted_residual as inverted_residual,
)
from jaxnets.models.efficientnet_lite import (
    EfficientNetLiteConfig as EfficientNetLiteConfig,
    efficientnet_lite as efficientnet_lite,
    efficientnet_lite_config as efficientnet_lite_config,
)
from jaxnets.models.googlenet import (
    GoogLeNetConfig as GoogLeNetConfig,
    GoogLeNetOutputs as GoogLeNetOutputs,
    googlenet as googlenet,
    googlenet_loss as googlenet_loss,
    inception as inception,
)
from jaxnets.models.gpt import GPTConfig as GPTConfig, gpt as gpt
from jaxnets.models.gpt_generation import (
    generate_tokens as generate_tokens,
    gpt_carry as gpt_carry,
    gpt_step as gpt_step,
    window_carry as window_carry,
    window_step as window_step,
)
from jaxnets.models.iwae import IWAEConfig as IWAEConfig, iwae as iwae, iwae_loss as iwae_loss
from jaxnets.models.lenet5 import LeNet5Config as LeNet5Config, lenet5 as lenet5
from jaxnets.models.llama import (
    LlamaConfig as LlamaConfig,
    llama as llama,
    llama_carry as llama_carry,
    llama_step as llama_step,
)
from jaxnets.models.lstm_forecaster import (
    LSTMForecasterConfig as LSTMForecasterConfig,
    lstm_forecaster as lstm_forecaster,
)
from jaxnets.models.mlp import MLPConfig as MLPConfig, mlp as mlp
from jaxnets.models.mnist_cnn import MnistCNNConfig as MnistCNNConfig, mnist_cnn as mnist_cnn
from jaxnets.models.nlinear import NLinearConfig as NLinearConfig, nlinear as nlinear
from jaxnets.models.patch_tst import PatchTSTConfig as PatchTSTConfig, patch_tst as patch_tst
from jaxnets.models.perceptron import (
    LearnedPerceptron as LearnedPerceptron,
    PerceptronConfig as PerceptronConfig,
    perceptron as perceptron,
    perceptron_fit as perceptron_fit,
    perceptron_path as perceptron_path,
    perceptron_rule as perceptron_rule,
)
from jaxnets.models.resnet import ResNetConfig as ResNetConfig, resnet as resnet
from jaxnets.models.segmentation_unet import (
    SegmentationUNetConfig as SegmentationUNetConfig,
    segmentation_unet as segmentation_unet,
)
from jaxnets.models.sentence_cnn import SentenceCNNConfig as SentenceCNNConfig, sentence_cnn as sentence_cnn
from jaxnets.models.sentence_lstm import SentenceLSTMConfig as SentenceLSTMConfig, sentence_lstm as sentence_lstm
from jaxnets.models.seq2seq import (
    Seq2SeqConfig as Seq2SeqConfig,
    scheduled_sampling as scheduled_sampling,
    seq2seq as seq2seq,
    seq2seq_attention as seq2seq_attention,
    seq2seq_carry as seq2seq_carry,
    seq2seq_step as seq2seq_step,
)
from jaxnets.models.small_cnn import SmallCNNConfig as SmallCNNConfig, small_cnn as small_cnn
from jaxnets.models.threshold_neuron import (
    ThresholdNetworkConfig as ThresholdNetworkConfig,
    ThresholdNeuronConfig as ThresholdNeuronConfig,
    threshold_network as threshold_network,
    threshold_neuron as threshold_neuron,
)
from jaxnets.models.transformer import (
    SourceTarget as SourceTarget,
    TransformerConfig as TransformerConfig,
    transformer as transformer,
    transformer_carry as transformer_carry,
    transformer_encode as transformer_encode,
    transformer_step as transformer_step,
)
from jaxnets.models.vae import (
    Posterior as Posterior,
    VAEConfig as VAEConfig,
    VAEOutputs as VAEOutputs,
    vae as vae,
    vae_decode as vae_decode,
    vae_encode as vae_encode,
    vae_log_likelihood as vae_log_likelihood,
    vae_log_weights as vae_log_weights,
    vae_loss as vae_loss,
    vae_sample as vae_sample,
)
from jaxnets.models.vgg import VGGConfig as VGGConfig, vgg as vgg
from jaxnets.models.vit import ViTConfig as ViTConfig, vit as vit
from jaxnets.models.whitened_cnn import (
    WhitenedCNNConfig as WhitenedCNNConfig,
    whitened_cnn as whitened_cnn,
    whitening_kernel as whitening_kernel,
)

ARCHITECTURES: Mapping[type[ModelConfig], Callable[[Any], Model]] = {
    AdalineConfig: adaline,
    AutoencoderConfig: autoencoder,
    BertConfig: bert,
    CLIPConfig: clip,
    CharRNNConfig: char_rnn,
    CifarResNetConfig: cifar_resnet,
    DCGANDiscriminatorConfig: dcgan_discriminator,
    DCGANGeneratorConfig: dcgan_generator,
    DLinearConfig: dlinear,
    DiffusionUNetConfig: diffusion_unet,
    EfficientNetConfig: efficientnet,
    EfficientNetLiteConfig: efficientnet_lite,
    GPTConfig: gpt,
    GoogLeNetConfig: googlenet,
    IWAEConfig: iwae,
    LSTMForecasterConfig: lstm_forecaster,
    LeNet5Config: lenet5,
    LlamaConfig: llama,
    MLPConfig: mlp,
    MnistCNNConfig: mnist_cnn,
    NLinearConfig: nlinear,
    PatchTSTConfig: patch_tst,
    PerceptronConfig: perceptron,
    ResNetConfig: resnet,
    SegmentationUNetConfig: segmentation_unet,
    SentenceCNNConfig: sentence_cnn,
    SentenceLSTMConfig: sentence_lstm,
    Seq2SeqConfig: seq2seq,
    SmallCNNConfig: small_cnn,
    ThresholdNetworkConfig: threshold_network,
    ThresholdNeuronConfig: threshold_neuron,
    TransformerConfig: transformer,
    VAEConfig: vae,
    VGGConfig: vgg,
    ViTConfig: vit,
    WhitenedCNNConfig: whitened_cnn,
}
"""The function that makes the network of a config, by the config's class."""
