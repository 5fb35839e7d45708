"""The decoder Transformer of GPT-2, which predicts the next token."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, Activation, ModelConfig, PositiveInt, Rate, build_model
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.nn.check import add_parameter
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State

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
        jaxnets.errors.SettingError: GPTConfig: heads must divide features, got 3 heads and 128 features
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
            raise SettingError(
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
        "positions": nn.embedding_spec(
            config.context, config.features, embedding_init=normal, axes=("positions", "features")
        ),
        "blocks": repeat_spec(block, config.layers),
        "norm": nn.layer_norm_spec(config.features, bias=config.bias),
    }


def _apply(
    config: GPTConfig, params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Score every token by the table of embeddings: logits `[batch, time, vocabulary]`."""
    x = gpt_features(config, params, ids, key=key, train=train)
    return nn.tied_logits(params["tokens"], nn.layer_norm(params["norm"], x)), state


def gpt_features(config: GPTConfig, params: Params, ids: Array, *, key: Key | None = None, train: bool) -> Array:
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
        >>> import jax.numpy as jnp
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
