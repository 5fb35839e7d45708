"""Networks, one architecture a file."""

from jaxnets.models.char_rnn import char_rnn, char_rnn_sequence, char_rnn_spec, generate_characters
from jaxnets.models.mnist_cnn import mnist_cnn, mnist_cnn_apply, mnist_cnn_spec
from jaxnets.models.small_cnn import small_cnn, small_cnn_apply, small_cnn_spec

__all__ = [
    "char_rnn",
    "char_rnn_sequence",
    "char_rnn_spec",
    "generate_characters",
    "mnist_cnn",
    "mnist_cnn_apply",
    "mnist_cnn_spec",
    "small_cnn",
    "small_cnn_apply",
    "small_cnn_spec",
]
