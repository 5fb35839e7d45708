"""Architectures, one a file: a spec, a plain function, and the two as a `Model`."""

from jaxnets.models.mnist_cnn import mnist_cnn, mnist_cnn_apply, mnist_cnn_spec
from jaxnets.models.small_cnn import small_cnn, small_cnn_apply, small_cnn_spec

__all__ = ["mnist_cnn", "mnist_cnn_apply", "mnist_cnn_spec", "small_cnn", "small_cnn_apply", "small_cnn_spec"]
