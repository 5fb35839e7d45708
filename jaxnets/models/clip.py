"""CLIP: a network of images and one of texts, whose vectors are close where an image and a text belong together."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets import nn
from jaxnets.config import (
    ACTIVATIONS,
    Activation,
    LayerCount,
    LayerSizes,
    ModelConfig,
    PositiveFloat,
    PositiveInt,
    Rate,
    Rule,
    build_model,
    check_config,
    check_inputs,
)
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.nn.check import add_parameter, broadcast_parameter, check_floating, compute_dtype
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import ArraySpec, Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State

_HeightAndWidth: TypeAlias = Annotated[tuple[PositiveInt, ...], Rule("height and width", lambda value: len(value) == 2)]
_EndOfText: TypeAlias = Annotated[int, Rule("an id, at least 0", lambda value: value >= 0)]


@dataclasses.dataclass(frozen=True)
class CLIPConfig(ModelConfig):
    """The settings of `clip`; by default ViT-B/32, of 151,277,313 parameters.

    ======== =========== ========== ============== ============= =========
    CLIP     image_size  patch_size image_features text_features embedding
    ======== =========== ========== ============== ============= =========
    ViT-B/32 224         32         768            512           512
    ViT-B/16 224         16         768            512           512
    ViT-L/14 224         14         1024           768           768
    ======== =========== ========== ============== ============= =========

    All have 12 layers, but 24 for the images of ViT-L/14, and a head for 64 features.

    Attributes:
        image_size: height and width of the images in pixels.
        patch_size: height and width of a patch, of the image or of what the stem makes of it.
        channels: of the images.
        stem: for small images, the channels of convolutions of 3 x 3 with stride 2, each with a norm and the
            activation, that come before the patches; none in the paper.
        image_layers: how many blocks read an image.
        image_heads: of their attention, a divisor of `image_features`.
        image_features: of a patch within the network; the hidden layers have four times as many.
        vocabulary: how many different tokens there are.
        context: how many tokens a text may have.
        end_of_text: the id of the token whose vector stands for the text, where it is first; None for the token of the
            highest id, where it is first, as in the paper's program.
        text_layers: how many blocks read a text.
        text_heads: of their attention, a divisor of `text_features`.
        text_features: of a token within the network; the hidden layers have four times as many.
        embedding: size of the vectors of images and texts.
        activation: of the hidden layers.
        epsilon: of the norms.
        dropout_rate: the probability to drop an entry of the embeddings and of what blocks add.
        attention_dropout_rate: the probability to drop an attention weight.
        remat: whether the backward pass computes the blocks again instead of storing their values.

    Example:
        >>> CLIPConfig(image_size=(64, 48), patch_size=5)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: CLIPConfig: patch_size 5, doubled 0 times, must divide image_size (64, 48)
    """

    image_size: _HeightAndWidth = (224, 224)
    patch_size: PositiveInt = 32
    channels: PositiveInt = 3
    stem: LayerSizes = ()
    image_layers: LayerCount = 12
    image_heads: PositiveInt = 12
    image_features: PositiveInt = 768
    vocabulary: PositiveInt = 49_408
    context: PositiveInt = 77
    end_of_text: _EndOfText | None = None
    text_layers: LayerCount = 12
    text_heads: PositiveInt = 8
    text_features: PositiveInt = 512
    embedding: PositiveInt = 512
    activation: Activation = "quick_gelu"
    epsilon: PositiveFloat = 1e-5
    dropout_rate: Rate = 0.0
    attention_dropout_rate: Rate = 0.0
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in ("image", "text"):
            heads, features = getattr(self, f"{kind}_heads"), getattr(self, f"{kind}_features")
            if features % heads:
                raise SettingError(
                    f"CLIPConfig: {kind}_heads must divide {kind}_features, got {heads} heads and {features} features"
                )
        if any(size % (self.patch_size << len(self.stem)) for size in self.image_size):
            raise SettingError(
                f"CLIPConfig: patch_size {self.patch_size}, doubled {len(self.stem)} times, must divide "
                f"image_size {self.image_size}"
            )
        if self.end_of_text is not None and self.end_of_text >= self.vocabulary:
            raise SettingError(
                f"CLIPConfig: end_of_text must be below the vocabulary of {self.vocabulary}, got {self.end_of_text}"
            )


class CLIPInputs(NamedTuple):
    """The input of `clip`: pairs of an image and a text, or several of each that are no pairs.

    Attributes:
        images: `[images, height, width, channels]`, floating point.
        ids: `[texts, time]`, each with the end of text.
    """

    images: Array
    ids: Array


class CLIPOutputs(NamedTuple):
    """What `clip` returns, in the order of the arguments of `losses.info_nce`.

    Attributes:
        images: `[images, embedding]`, of length 1.
        texts: `[texts, embedding]`, of length 1.
        log_scale: a scalar, the logarithm of the inverse of the learned temperature.
    """

    images: Array
    texts: Array
    log_scale: Array


def _spec(config: CLIPConfig) -> Spec:
    """`image`, `text` and `log_scale`; each of the first two ends in `projection`."""
    return {
        "image": _image_spec(config),
        "text": _text_spec(config),
        "log_scale": ArraySpec((), jax.nn.initializers.constant(math.log(1 / 0.07))),
    }


def _image_spec(config: CLIPConfig) -> Spec:
    """`stem` (if there is one), `patches`, `class_token`, `positions`, `norm_first`, `blocks`, `norm`, `projection`."""
    features = config.image_features
    normal = jax.nn.initializers.normal(features**-0.5)
    channels = (config.channels, *config.stem)
    stem = [
        {"conv": nn.conv_spec(before, after, (3, 3), bias=False), "norm": nn.layer_norm_spec(after)}
        for before, after in zip(channels, config.stem, strict=False)
    ]
    size = config.patch_size
    count = math.prod(size // (config.patch_size << len(config.stem)) for size in config.image_size)
    return ({"stem": stem} if stem else {}) | {
        "patches": nn.conv_spec(channels[-1], features, (size, size), bias=False),
        "class_token": ArraySpec((features,), normal, axes=("features",)),
        "positions": nn.embedding_spec(count + 1, features, embedding_init=normal, axes=_POSITIONS),
        "norm_first": nn.layer_norm_spec(features),
        "blocks": _blocks_spec(features, config.image_heads, config.image_layers),
        "norm": nn.layer_norm_spec(features),
        "projection": nn.linear_spec(features, config.embedding, bias=False, kernel_init=normal),
    }


_POSITIONS = ("positions", "features")


def _text_spec(config: CLIPConfig) -> Spec:
    """`tokens`, `positions`, `blocks`, `norm` and `projection`."""
    features, normal = config.text_features, jax.nn.initializers.normal
    return {
        "tokens": nn.embedding_spec(config.vocabulary, features, embedding_init=normal(0.02)),
        "positions": nn.embedding_spec(config.context, features, embedding_init=normal(0.01), axes=_POSITIONS),
        "blocks": _blocks_spec(features, config.text_heads, config.text_layers),
        "norm": nn.layer_norm_spec(features),
        "projection": nn.linear_spec(features, config.embedding, bias=False, kernel_init=normal(features**-0.5)),
    }


def _blocks_spec(features: int, heads: int, layers: int) -> Spec:
    """Stacked blocks, initialized as the paper's program does those of texts."""
    normal = jax.nn.initializers.normal
    block = nn.transformer_block_spec(
        features, heads=heads, kernel_init=normal(features**-0.5), out_init=normal((2 * layers * features) ** -0.5)
    )
    hidden = nn.linear_spec(
        features, 4 * features, kernel_init=normal((2 * features) ** -0.5), axes=("features", "hidden")
    )
    return repeat_spec(block | {"linear1": hidden}, layers)


def _apply(
    config: CLIPConfig, params: Params, state: State, inputs: CLIPInputs, *, key: Key | None = None, train: bool
) -> tuple[CLIPOutputs, State]:
    check_inputs(inputs, CLIPInputs)
    images = clip_images(config, params, inputs.images, key=subkey(key, "image"), train=train)
    texts = clip_texts(config, params, inputs.ids, key=subkey(key, "text"), train=train)
    return CLIPOutputs(images, texts, params["log_scale"]), state


def clip(config: CLIPConfig = CLIPConfig()) -> Model:
    """Make the network: a Vision Transformer for images, a causal Transformer for texts, and a learned temperature.

    An image is read as patches after a class token, whose vector is the image's. A text is read as tokens, and its
    vector is that of the end of text, which has seen all before it. Both are projected to the same size and divided by
    their lengths, so that products are cosines. Trained with
    `losses.info_nce(outputs.images, outputs.texts, outputs.log_scale)`, images and texts find each other, and a class
    is recognized by its name: it is the text nearest to an image.

    Args:
        config: the settings.

    Returns:
        A model from `CLIPInputs(images, ids)` to `CLIPOutputs(images, texts, log_scale)`. Apply raises a ValueError for
        images of another size and texts longer than the context. A text without its end has a vector of NaN.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets import losses
        >>> sizes = {f"{kind}_{name}": 1 if name == "layers" else 8 for kind in ("image", "text") for name in
        ...     ("layers", "heads", "features")}
        >>> model = clip(CLIPConfig((8, 8), 4, vocabulary=9, context=5, embedding=6, **sizes))
        >>> params, state = model.init(jax.random.key(0))
        >>> inputs = CLIPInputs(jnp.ones((2, 8, 8, 3)), jnp.array([[1, 8, 0], [2, 3, 8]]))
        >>> outputs, state = model.apply(params, state, inputs, train=False)
        >>> outputs.images.shape, losses.info_nce(*outputs).shape
        ((2, 6), (2,))

    Reference:
        Radford et al., Learning transferable visual models from natural language supervision, 2021.

    Warning:
        Hugging Face's program takes the token of the highest id for the end of text if the setting `eos_token_id` is 2,
        as in the published files, else the first one of that id; `end_of_text` is None or that id here. It takes the
        first token of a text without an end. The paper keeps the scale below 100:
        `jnp.minimum(outputs.log_scale, jnp.log(100.0))`; Hugging Face's loss does not. Images are to be scaled as those
        of the training were, which for the published weights is by each channel's mean and deviation. The stem is not
        in the paper (Xiao et al., Early convolutions help transformers see better, 2021).
    """
    return build_model(config, CLIPConfig, _spec, _apply)


def clip_images(
    config: CLIPConfig, params: Params, images: Array, *, key: Key | None = None, train: bool = False
) -> Array:
    """Embed images with the half of `clip` that reads them: the projected class token, divided by its length.

    Args:
        config: the settings.
        params: of `clip`, or those of them under `"image"` alone in a dict.
        images: `[batch, height, width, channels]`, floating point.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[batch, embedding]`, in the dtype of the images. Products with the vectors of texts are cosines.

    Raises:
        ValueError: if the images have another size.
        TypeError: if the images are not floating point, or the config is of another class.

    Example:
        `clip_images(model.config, params, images) @ clip_texts(model.config, params, ids).T` are the cosines of all
        images with all texts.

    Reference:
        Radford et al., 2021, as in `clip`.
    """
    check_config(config, CLIPConfig)
    params = params["image"]
    check_floating(images, name="images")
    expected = (*config.image_size, config.channels)
    if images.ndim != 4 or images.shape[1:] != expected:
        raise ValueError(f"clip: images must be [batch, {', '.join(map(str, expected))}], got {list(images.shape)}")
    x = images
    for unit in params.get("stem", []):
        x = nn.layer_norm(unit["norm"], nn.conv(unit["conv"], x, stride=2), epsilon=config.epsilon)
        x = ACTIVATIONS[config.activation](x)
    x = nn.conv(params["patches"], x, stride=config.patch_size, padding="VALID")
    x = x.reshape((x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))
    token = broadcast_parameter(params["class_token"], (x.shape[0], 1, x.shape[-1]), x.dtype)
    x = add_parameter(jnp.concatenate([token, x], axis=1), params["positions"]["embedding"])
    x = nn.layer_norm(params["norm_first"], x, epsilon=config.epsilon)
    x = _run_blocks(config, params["blocks"], x, causal=False, key=key, train=train)
    return _project(config, params, x[:, 0])


def clip_texts(config: CLIPConfig, params: Params, ids: Array, *, key: Key | None = None, train: bool = False) -> Array:
    """Embed texts with the half of `clip` that reads them: the projected end of text, divided by its length.

    What follows the end of a text changes nothing, so that texts are padded with any id (with `end_of_text=None` with
    any below the highest).

    Args:
        config: the settings.
        params: of `clip`, or those of them under `"text"` alone in a dict.
        ids: `[batch, time]`, each with the end of text.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[batch, embedding]`, in the dtype of the parameters; NaN for a text without its end.

    Raises:
        ValueError: if the texts are longer than the context.
        TypeError: if the ids are not integers, or the config is of another class.

    Example:
        See `clip_images`.

    Reference:
        Radford et al., 2021, as in `clip`.
    """
    check_config(config, CLIPConfig)
    params = params["text"]
    if ids.ndim != 2:
        raise ValueError(f"clip: ids must be [batch, time], got {list(ids.shape)}")
    if ids.shape[1] > config.context:
        raise ValueError(f"clip: {ids.shape[1]} tokens are more than the context of {config.context}")
    positions = params["positions"]["embedding"][: ids.shape[1]]
    x = add_parameter(nn.embedding(params["tokens"], ids), positions)
    x = _run_blocks(config, params["blocks"], x, causal=True, key=key, train=train)
    if config.end_of_text is None:
        return _project(config, params, _rows(x, jnp.argmax(ids, axis=1)))
    is_end = ids == config.end_of_text
    y = _project(config, params, _rows(x, jnp.argmax(is_end, axis=1)))
    return jnp.where(jnp.any(is_end, axis=1, keepdims=True), y, jnp.nan)


def _run_blocks(config: CLIPConfig, params: Params, x: Array, *, causal: bool, key: Key | None, train: bool) -> Array:
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "embeddings"), train=train)
    block = functools.partial(
        nn.transformer_block,
        causal=causal,
        activation=ACTIVATIONS[config.activation],
        epsilon=config.epsilon,
        dropout_rate=config.dropout_rate,
        attention_dropout_rate=config.attention_dropout_rate,
        train=train,
    )
    y: Array = repeat(block, params, x, key=subkey(key, "blocks"), remat=config.remat, unroll=4)
    return y


def _rows(x: Array, positions: Array) -> Array:
    """The vector at one position of each text: `[batch, features]` of `[batch, time, features]`."""
    return jnp.take_along_axis(x, positions[:, None, None], axis=1)[:, 0]


def _project(config: CLIPConfig, params: Params, x: Array) -> Array:
    """Norm, projection, and division by the length."""
    y = nn.linear(params["projection"], nn.layer_norm(params["norm"], x, epsilon=config.epsilon))
    wide = y.astype(compute_dtype(y))
    unit: Any = wide / optax.safe_norm(wide, 1e-12, axis=-1, keepdims=True)
    return jnp.asarray(unit, y.dtype)
