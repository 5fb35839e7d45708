"""The decoder Transformer of GPT-2, which predicts the next token."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, Activation, ModelConfig, PositiveInt, Rate, build_model, check_config
from jaxnets.layer import names_errors
from jaxnets.model import Model
from jaxnets.models.sampling import check_generation, draw
from jaxnets.nn.check import add_parameter
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, ArrayLike, Key, Params, State

_DEVIATION = 0.02


@dataclasses.dataclass(frozen=True)
class GPTConfig(ModelConfig):
    """The settings of `gpt`; by default the smallest GPT-2.

    ======== ====== ===== ======== =============
    GPT-2    layers heads features parameters
    ======== ====== ===== ======== =============
    small    12     12    768      124,439,808
    medium   24     16    1024     354,823,168
    large    36     20    1280     774,030,080
    XL       48     25    1600     1,557,611,200
    ======== ====== ===== ======== =============

    Attributes:
        vocabulary: how many different tokens there are.
        context: how many positions the network knows.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a token within the network.
        bias: whether norms, attention and linear layers have biases.
        activation: of the hidden layers; GPT-2 computes GELU by tanh.
        dropout_rate: the probability to drop an entry of the embeddings and of what blocks add; the paper has 0.1.
        attention_dropout_rate: the probability to drop an attention weight; the paper has 0.1.
        remat: whether the backward pass computes the blocks again instead of storing their values.

    Example:
        >>> GPTConfig(vocabulary=65, context=64, layers=4, heads=3, features=128)
        Traceback (most recent call last):
        ...
        ValueError: GPTConfig: heads must divide features, got 3 heads and 128 features
    """

    vocabulary: PositiveInt = 50_257
    context: PositiveInt = 1024
    layers: PositiveInt = 12
    heads: PositiveInt = 12
    features: PositiveInt = 768
    bias: bool = True
    activation: Activation = "gelu_tanh"
    dropout_rate: Rate = 0.0
    attention_dropout_rate: Rate = 0.0
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features % self.heads:
            raise ValueError(
                f"GPTConfig: heads must divide features, got {self.heads} heads and {self.features} features"
            )


def _spec(config: GPTConfig) -> Spec:
    """`tokens`, which is also the last layer, `positions`, `blocks` (stacked) and `norm`."""
    normal = jax.nn.initializers.normal(_DEVIATION)
    block = nn.transformer_block_spec(
        config.features,
        heads=config.heads,
        bias=config.bias,
        kernel_init=normal,
        out_init=jax.nn.initializers.normal(_DEVIATION / math.sqrt(2 * config.layers)),
    )
    return {
        "tokens": nn.embedding_spec(config.vocabulary, config.features, embedding_init=normal),
        "positions": nn.embedding_spec(config.context, config.features, embedding_init=normal),
        "blocks": repeat_spec(block, config.layers),
        "norm": nn.layer_norm_spec(config.features, bias=config.bias),
    }


def _apply(
    config: GPTConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Score every token by the table of embeddings: logits `[batch, time, vocabulary]`."""
    x = _features(config, params, ids, key=key, train=train)
    return nn.tied_logits(params["tokens"], nn.layer_norm(params["norm"], x)), state


def _features(config: GPTConfig, params: Params, ids: Array, *, key: Key | None = None, train: bool) -> Array:
    """Add embeddings of tokens and positions and run the causal blocks: `[batch, time, features]`."""
    if ids.ndim != 2:
        raise ValueError(f"gpt: ids must be [batch, time], got {list(ids.shape)}")
    context, time = params["positions"]["embedding"].shape[0], ids.shape[1]
    if time > context:
        raise ValueError(f"gpt: {time} tokens are more than the context of {context}; pass ids[:, -{context}:]")
    x = add_parameter(nn.embedding(params["tokens"], ids), params["positions"]["embedding"][:time])
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "embeddings"), train=train)

    block = functools.partial(
        nn.transformer_block,
        causal=True,
        activation=ACTIVATIONS[config.activation],
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    features: Array = repeat(block, params["blocks"], x, key=subkey(key, "blocks"), remat=config.remat, unroll=4)
    return features


def gpt(config: GPTConfig = GPTConfig()) -> Model:
    """Make the network: embeddings of tokens and positions, causal blocks, a norm, and logits by the embeddings.

    Args:
        config: the settings.

    Returns:
        A model from ids `[batch, time]`, `time` at most the context, to logits `[batch, time, vocabulary]` of each next
        token. Apply raises a ValueError if the sequence is longer, and a TypeError if ids are not integers.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = gpt(GPTConfig(vocabulary=65, context=8, layers=2, heads=2, features=16))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((3, 5), jnp.int32), train=False)[0].shape
        (3, 5, 65)

    Reference:
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019.

    Warning:
        Positions are initialized with the deviation 0.02 of all other tables, as in Hugging Face's code and nanoGPT;
        the paper's own code has 0.01 for them.
    """
    return build_model(config, GPTConfig, _spec, _apply)


@names_errors
def generate_tokens(
    config: GPTConfig, params: Params, prompt: ArrayLike, length: int, *, temperature: float | Array = 1.0, key: Key
) -> Array:
    """Draw tokens one after the other, each from softmax(logits / temperature) after as many as the context holds.

    Compiled once for each config, length and shape of the prompt, inside of `jit` and outside of it.

    Args:
        config: of the network, `model.config`.
        params: of a trained `gpt`.
        prompt: ids `[batch, time]` to begin with, at least one.
        length: how many tokens to draw.
        temperature: below 1 for the likelier tokens, above 1 for more variety, 0 for always the likeliest.
        key: random key.

    Returns:
        ids int32 `[batch, length]`.

    Raises:
        TypeError: if the config is of another class, or the prompt does not hold integers.
        ValueError: if the prompt is empty or the temperature negative.

    Example:
        >>> model = gpt(GPTConfig(vocabulary=65, context=8, layers=1, heads=2, features=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> generate_tokens(model.config, params, jnp.array([[1, 2]]), 12, key=jax.random.key(1)).shape
        (1, 12)

    Warning:
        Every token costs a pass over the whole context: positions are learned, so that past keys and values are of no
        use once the context moves on.
    """
    check_config(config, GPTConfig)
    ids, length, temperature = check_generation(prompt, length, temperature)
    config = dataclasses.replace(config, dropout_rate=0.0, attention_dropout_rate=0.0, remat=False)  # for training only
    drawn: Array = _generate(config, params, ids, length, temperature, key)
    return drawn


@functools.partial(jax.jit, static_argnames=("config", "length"))
def _generate(config: GPTConfig, params: Params, prompt: Array, length: int, temperature: Any, key: Key) -> Array:
    context, begun = config.context, prompt.shape[1]
    ids = jnp.pad(prompt, ((0, 0), (0, max(length, context - begun))))

    def step(ids: Array, position: Array) -> tuple[Array, Array]:
        start = jnp.maximum(position - context, 0)
        window = jax.lax.dynamic_slice_in_dim(ids, start, context, axis=1)
        x = _features(config, params, window, train=False)
        last = jax.lax.dynamic_index_in_dim(x, position - 1 - start, axis=1, keepdims=False)
        logits = nn.tied_logits(params["tokens"], nn.layer_norm(params["norm"], last))
        drawn = draw(logits, temperature, subkey(key, position))
        return jax.lax.dynamic_update_slice_in_dim(ids, drawn[:, None], position, axis=1), drawn

    _, drawn = jax.lax.scan(step, ids, jnp.arange(begun, begun + length))
    return drawn.T
