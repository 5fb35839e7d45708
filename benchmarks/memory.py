"""The memory that `fit` takes on the models of the library: `python -m benchmarks.memory [NAME ...]`.

`peak` is what XLA says of the compiled program of a dispatch of `fit`: arguments, temporary memory and the results that
are not written over arguments. `bound` is what cannot be done without: parameters, their gradients, what the optimizer
(Adam) keeps, state, the data set of one batch and the batch drawn from it, and the activations, which are the arrays
that `jax.ad_checkpoint.print_saved_residuals` lists but for parameters. The loss is the mean square of all that a
network returns. Nothing is run, and no array is made.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets import Model, models, subkey
from jaxnets.training import compiler_options, init_train_state, make_step, scan_data
from jaxnets.training.programs import run_steps
from jaxnets.types import PyTree

_BYTES = {"bool": 1, "u8": 1, "i32": 4, "u32": 4, "f32": 4, "f64": 8, "i64": 8}
"""Of the dtypes, as JAX abbreviates them."""


class Network(NamedTuple):
    """A model and one batch of its inputs, as shapes."""

    name: str
    model: Model
    inputs: PyTree


class Used(NamedTuple):
    """Bytes of a network: see the description of this file."""

    parameters: int
    optimizer: int
    activations: int
    bound: int
    peak: int


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """Numbers of this shape."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def ids(*shape: int) -> jax.ShapeDtypeStruct:
    """Integers of this shape."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)


SMALL = {"layers": 4, "heads": 4, "features": 128}
"""Of Transformers."""


def networks() -> Iterator[Network]:
    """Each model of the library, in a size at which its layers have megabytes."""
    yield from networks_of_images()
    yield from networks_of_sequences()


def networks_of_images() -> Iterator[Network]:
    """Those that take images, or vectors."""
    m = models
    digits, images, large = floats(64, 28, 28, 1), floats(32, 32, 32, 3), floats(4, 224, 224, 3)
    yield Network("mlp", m.mlp(m.MLPConfig((784, 512, 512, 10))), floats(64, 784))
    yield Network("mlp, norm", m.mlp(m.MLPConfig((784, 512, 512, 10), norm=True)), floats(64, 784))
    yield Network("lenet5", m.lenet5(), digits)
    yield Network("mnist_cnn", m.mnist_cnn(), digits)
    yield Network("small_cnn", m.small_cnn(m.SmallCNNConfig(28, 28, 1)), digits)
    yield Network("cifar_resnet", m.cifar_resnet(), images)
    yield Network("vgg", m.vgg(m.VGGConfig(11, 10, norm=True, pooled=1, hidden=())), images)
    yield Network("whitened_cnn", m.whitened_cnn(), images)
    yield Network("resnet", m.resnet(m.ResNetConfig(18)), large)
    yield Network("googlenet", m.googlenet(), large)
    yield Network("efficientnet_lite", m.efficientnet_lite(), large)
    yield Network("vit", m.vit(m.ViTConfig(32, 4, 10, **SMALL)), images)
    yield Network(
        "segmentation_unet", m.segmentation_unet(m.SegmentationUNetConfig(11, width=16)), floats(2, 128, 128, 3)
    )
    yield Network("autoencoder", m.autoencoder(m.AutoencoderConfig((784, 512, 32))), floats(64, 784))
    yield Network("vae", m.vae(m.VAEConfig((784, 512, 32))), floats(64, 784))
    yield Network("iwae", m.iwae(m.IWAEConfig((784, 512, 32), samples=5)), floats(64, 784))
    yield Network("dcgan_generator", m.dcgan_generator(m.DCGANGeneratorConfig(28, 1)), floats(64, 100))
    yield Network("dcgan_discriminator", m.dcgan_discriminator(m.DCGANDiscriminatorConfig(28, 1)), digits)
    yield Network(
        "diffusion_unet",
        m.diffusion_unet(m.DiffusionUNetConfig(32, 1, features=32)),
        m.DiffusionInputs(floats(16, 32, 32, 1), ids(16), None),
    )


def networks_of_sequences() -> Iterator[Network]:
    """Those that take texts or time series, alone or beside images."""
    m, small = models, SMALL
    tokens, pairs = ids(8, 64), m.SourceTarget(ids(16, 32), ids(16, 32))
    tower = {f"{kind}_{name}": size for kind in ("image", "text") for name, size in small.items()}
    yield Network("char_rnn, lstm", m.char_rnn(m.CharRNNConfig(65)), tokens)
    yield Network("char_rnn, gru", m.char_rnn(m.CharRNNConfig(65, cell="gru")), tokens)
    yield Network("sentence_cnn", m.sentence_cnn(m.SentenceCNNConfig(5000, 6)), ids(50, 40))
    yield Network("sentence_lstm", m.sentence_lstm(m.SentenceLSTMConfig(5000, 6)), ids(50, 40))
    yield Network("seq2seq", m.seq2seq(m.Seq2SeqConfig(2000, 2000)), pairs)
    yield Network("transformer", m.transformer(m.TransformerConfig(2000, 2000, hidden=512, **small)), pairs)
    yield Network("gpt", m.gpt(m.GPTConfig(1000, 64, **small)), tokens)
    yield Network("gpt, dropout", m.gpt(m.GPTConfig(1000, 64, dropout_rate=0.1, **small)), tokens)
    yield Network("gpt, remat", m.gpt(m.GPTConfig(1000, 64, remat=True, **small)), tokens)
    yield Network("llama", m.llama(m.LlamaConfig(1000, kv_heads=2, hidden=384, **small)), tokens)
    yield Network("bert", m.bert(m.BertConfig(1000, 64, hidden=512, **small)), m.BertInputs(tokens))
    yield Network(
        "clip", m.clip(m.CLIPConfig(vocabulary=1000, context=16, embedding=128, **tower)),
        m.CLIPInputs(floats(16, 224, 224, 3), ids(16, 16)),
    )  # fmt: skip
    yield Network("nlinear", m.nlinear(m.NLinearConfig(336, 96)), floats(64, 336, 7))
    yield Network("dlinear", m.dlinear(m.DLinearConfig(336, 96)), floats(64, 336, 7))
    patches = m.PatchTSTConfig(336, 96, 16, 8, layers=3, heads=4, features=64, hidden=128)
    yield Network("patch_tst", m.patch_tst(patches), floats(16, 336, 7))
    yield Network("lstm_forecaster", m.lstm_forecaster(m.LSTMForecasterConfig(7, 96)), floats(32, 96, 7))


def examples(inputs: PyTree) -> int:
    """How many examples a batch has."""
    return int(jax.tree.leaves(inputs)[0].shape[0])


def loss_of(model: Model) -> Any:
    """The loss of a step: the mean square of all that the model returns."""

    def loss(params: PyTree, state: PyTree, batch: PyTree, *, key: Any, train: bool) -> Any:
        outputs, new_state = model.apply(params, state, batch, key=subkey(key, "model"), train=train)
        numbers = [leaf for leaf in jax.tree.leaves(outputs) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        return sum(jnp.mean(jnp.square(leaf)) for leaf in numbers), (new_state, {})

    return loss


def bytes_of(tree: PyTree) -> int:
    """The bytes of arrays or of shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def activations_of(loss: Any, train_state: Any, inputs: PyTree) -> int:
    """The bytes that the forward pass stores for the backward one, but for parameters."""

    def of_params(params: PyTree, state: PyTree, batch: PyTree, seed: Any) -> Any:
        return loss(params, state, batch, key=jax.random.key(seed), train=True)[0]

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        jax.ad_checkpoint.print_saved_residuals(
            of_params, train_state.params, train_state.state, inputs, train_state.seed
        )
    total = 0
    for line in printed.getvalue().splitlines():
        found = re.match(r"(\w+)\[([\d,]*)\]", line)
        if found and " from the argument params" not in line:
            total += math.prod(map(int, filter(None, found[2].split(",")))) * _BYTES[found[1]]
    return total


def measure(network: Network) -> Used:
    """Compile a dispatch of two steps for abstract arrays, without optimizing code, which changes no memory."""
    optimizer, loss = optax.adam(1e-3), loss_of(network.model)
    train_state = jax.eval_shape(lambda: init_train_state(network.model, optimizer, 0))
    scan = functools.partial(scan_data, steps=2, batch_size=examples(network.inputs))
    quick = {**(compiler_options() or {}), "xla_backend_optimization_level": "0"}
    dispatch = jax.jit(run_steps(make_step(loss, optimizer), scan), donate_argnums=0, compiler_options=quick)
    found = dispatch.lower(train_state, network.inputs, ids(), None).compile().memory_analysis()
    peak = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    peak += found.temp_size_in_bytes
    parameters, optimizer_bytes = bytes_of(train_state.params), bytes_of(train_state.opt_state)
    activations = activations_of(loss, train_state, network.inputs)
    bound = 2 * parameters + optimizer_bytes + bytes_of(train_state.state) + 2 * bytes_of(network.inputs) + activations
    return Used(parameters, optimizer_bytes, activations, bound, peak)


def table(chosen: list[str] | None = None) -> Iterator[str]:
    """A table in Markdown, line by line."""
    yield "| model | parameters, MiB | Adam | activations | bound | peak | peak / bound |"
    yield "|---|---|---|---|---|---|---|"
    for network in networks():
        if not chosen or network.name in chosen:
            used = measure(network)
            cells = " | ".join(f"{size / 2**20:.2f}" for size in used)
            yield f"| {network.name} | {cells} | {used.peak / used.bound:.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="names as in the table (default: all)")
    for line in table(parser.parse_args().models):
        print(line, flush=True)
