"""The decoder Transformer of GPT-2, which predicts the next token."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State

_DEVIATION = 0.02


def gpt_spec(
    vocabulary: int = 50_257,
    context: int = 1024,
    *,
    layers: int = 12,
    heads: int = 12,
    features: int = 768,
    bias: bool = True,
) -> Spec:
    """Describe the parameters of `gpt`.

    Args:
        vocabulary: how many different tokens there are.
        context: how many positions the network knows.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a token within the network.
        bias: whether norms, attention and linear layers have biases.

    Returns:
        A spec with `tokens`, `positions`, `blocks` (stacked) and `norm`. The table of tokens is also the last layer's.

    Raises:
        ValueError: if heads do not divide `features`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(gpt_spec())
        124439808
    """
    normal = jax.nn.initializers.normal(_DEVIATION)
    block = nn.transformer_block_spec(
        features,
        heads=heads,
        bias=bias,
        kernel_init=normal,
        out_init=jax.nn.initializers.normal(_DEVIATION / math.sqrt(2 * layers)),
    )
    return {
        "tokens": nn.embedding_spec(vocabulary, features, embedding_init=normal),
        "positions": nn.embedding_spec(context, features, embedding_init=normal),
        "blocks": repeat_spec(block, layers),
        "norm": nn.layer_norm_spec(features, bias=bias),
    }


def gpt_apply(
    params: Params,
    state: State,
    ids: Array,
    *,
    key: Key | None = None,
    train: bool,
    activation: Callable[[Array], Array] = jax.nn.gelu,
    rate: float | Array = 0.0,
    remat: bool = False,
) -> tuple[Array, State]:
    """Add embeddings of tokens and positions, run the causal blocks, and score every token by the table of embeddings.

    Args:
        params: as `gpt_spec` describes them.
        state: `{}`.
        ids: integers `[batch, time]`, `time` at most the context.
        key: for dropout.
        train: whether dropout drops.
        activation: of the hidden layers.
        rate: the probability to drop an entry of the embeddings, of what blocks add, and of attention weights.
        remat: whether the backward pass computes the blocks again instead of storing their values.

    Returns:
        Logits `[batch, time, vocabulary]` of each next token, and the state.

    Raises:
        ValueError: if the sequence is longer than the context, or a key is missing.
        TypeError: if ids are not integers.

    Example:
        >>> import jax.numpy as jnp
        >>> model = gpt(65, 8, layers=2, heads=2, features=16)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((3, 5), jnp.int32), train=False)[0].shape
        (3, 5, 65)
    """
    if ids.ndim != 2:
        raise ValueError(f"gpt: ids must be [batch, time], got {list(ids.shape)}")
    context, time = params["positions"]["embedding"].shape[0], ids.shape[1]
    if time > context:
        raise ValueError(f"gpt: {time} tokens are more than the context of {context}; pass ids[:, -{context}:]")
    x = nn.embedding(params["tokens"], ids) + params["positions"]["embedding"][None, :time]
    x = nn.dropout(x, rate, key=subkey(key, "embeddings"), train=train)

    settings: dict[str, Any] = {"activation": activation, "rate": rate, "attention_rate": rate, "train": train}
    block = functools.partial(nn.transformer_block, causal=True, **settings)
    x = repeat(block, params["blocks"], x, key=subkey(key, "blocks"), remat=remat, unroll=4)
    return nn.tied_logits(params["tokens"], nn.layer_norm(params["norm"], x)), state


def gpt(
    vocabulary: int = 50_257,
    context: int = 1024,
    *,
    activation: Callable[[Array], Array] = jax.nn.gelu,
    rate: float | Array = 0.0,
    remat: bool = False,
    **sizes: Any,
) -> Model:
    """Make the network; by default the smallest GPT-2, of 124,439,808 parameters.

    The larger ones have `layers=24, heads=16, features=1024`, `layers=36, heads=20, features=1280` and `layers=48,
    heads=25, features=1600`.

    Args:
        vocabulary: how many different tokens there are.
        context: how many positions the network knows.
        activation: of the hidden layers; the default computes GELU by tanh as GPT-2 does.
        rate: of dropout; the paper's networks were trained with 0.1.
        remat: whether the backward pass computes the blocks again instead of storing their values.
        **sizes: as in `gpt_spec`.

    Returns:
        A model from ids `[batch, time]` to logits `[batch, time, vocabulary]`; see `gpt_apply`.

    Raises:
        ValueError: if heads do not divide `features`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(gpt_spec(65, 64, layers=4, heads=4, features=128, bias=False))
        804096

    Reference:
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019.

    Warning:
        Positions start with the deviation 0.02 of all other tables, as in Hugging Face's code and nanoGPT; the paper's
        own code has 0.01 for them.
    """

    def apply(params: Params, state: State, ids: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        settings: dict[str, Any] = {"activation": activation, "rate": rate, "remat": remat}
        return gpt_apply(params, state, ids, key=key, train=train, **settings)

    return make_model(gpt_spec(vocabulary, context, **sizes), apply)


def generate_tokens(
    params: Params,
    prompt: Array,
    length: int,
    *,
    activation: Callable[[Array], Array] = jax.nn.gelu,
    temperature: float = 1.0,
    key: Key,
) -> Array:
    """Draw tokens one after the other, each from softmax(logits / temperature) after as many as the context holds.

    Args:
        params: of a trained `gpt`.
        prompt: ids `[batch, time]` to begin with, at least one.
        length: how many tokens to draw.
        activation: as in training.
        temperature: below 1 for the likelier tokens, above 1 for more variety, 0 for always the likeliest.
        key: random key.

    Returns:
        ids int32 `[batch, length]`.

    Raises:
        ValueError: if the prompt is empty or the temperature negative.

    Example:
        >>> params, _ = gpt(65, 8, layers=1, heads=2, features=16).init(jax.random.key(0))
        >>> generate_tokens(params, jnp.array([[1, 2]]), 12, key=jax.random.key(1)).shape
        (1, 12)

    Warning:
        Every token costs a pass over the whole context: positions are learned, so that past keys and values are of no
        use once the context moves on.
    """
    if prompt.ndim != 2 or prompt.shape[1] < 1:
        raise ValueError(f"generate_tokens: prompt must be [batch, time] with time >= 1, got {list(prompt.shape)}")
    if temperature < 0:
        raise ValueError(f"generate_tokens: temperature must not be negative, got {temperature}")
    context, begun = params["positions"]["embedding"].shape[0], prompt.shape[1]
    missing = max(length, context - begun)
    ids = jnp.pad(prompt.astype(jnp.int32), ((0, 0), (0, missing)))

    def step(ids: Array, position: Array) -> tuple[Array, Array]:
        start = jnp.maximum(position - context, 0)
        window = jax.lax.dynamic_slice_in_dim(ids, start, context, axis=1)
        logits, _ = gpt_apply(params, {}, window, train=False, activation=activation)
        last = jax.lax.dynamic_index_in_dim(logits, position - 1 - start, axis=1, keepdims=False)
        drawn = jax.random.categorical(subkey(key, position), last / temperature) if temperature else last.argmax(-1)
        drawn = drawn.astype(jnp.int32)
        return jax.lax.dynamic_update_slice_in_dim(ids, drawn[:, None], position, axis=1), drawn

    _, drawn = jax.lax.scan(step, ids, jnp.arange(begun, begun + length))
    return drawn.T
