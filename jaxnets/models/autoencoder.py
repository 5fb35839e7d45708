"""The autoencoder, which learns codes: an encoder to a few numbers, and a decoder back to the input."""

from __future__ import annotations

import dataclasses

from jaxnets.config import Activation, LayerSizes, ModelConfig, build_model, check_config
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.models.mlp import MLPConfig, mlp
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig(ModelConfig):
    """The settings of `autoencoder`; by default the sizes of Hinton and Salakhutdinov for MNIST.

    Attributes:
        sizes: of the input, of the encoder's hidden layers, and of the code. The decoder has them the other way round.
        activation: of the hidden layers, a name in `jaxnets.config.ACTIVATIONS`.

    Example:
        >>> AutoencoderConfig((784,))
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: AutoencoderConfig: sizes must hold at least those of input and code, got (784,)
    """

    sizes: LayerSizes = (784, 1000, 500, 250, 30)
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.sizes) < 2:
            raise SettingError(f"AutoencoderConfig: sizes must hold at least those of input and code, got {self.sizes}")


def _encoder(config: AutoencoderConfig) -> Model:
    return mlp(MLPConfig(config.sizes, activation=config.activation))


def _decoder(config: AutoencoderConfig) -> Model:
    return mlp(MLPConfig(config.sizes[::-1], activation=config.activation))


def _spec(config: AutoencoderConfig) -> Spec:
    """`encoder` and `decoder`, each the layers of an `mlp`."""
    return {"encoder": _encoder(config).spec, "decoder": _decoder(config).spec}


def _apply(
    config: AutoencoderConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    return autoencoder_decode(config, params, autoencoder_encode(config, params, x)), state


def autoencoder(config: AutoencoderConfig = AutoencoderConfig()) -> Model:
    """Make an autoencoder: $x' = decode(encode(x))$, two perceptrons with a narrow layer between them.

    A denoising autoencoder is the same network whose loss is shown noisy inputs and compares with the clean ones.

    Args:
        config: the settings.

    Returns:
        A model from `[batch, features]` to `[batch, features]`. The last layer is linear: for pixels in [0, 1] take its
        results as logits (`losses.binary_cross_entropy`), otherwise as they are (`losses.squared_error`).

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import losses, training
        >>> model = autoencoder(AutoencoderConfig((64, 16, 2)))
        >>> params, state = model.init(jax.random.key(0))
        >>> x = jnp.ones((3, 64))
        >>> loss = training.supervised(model, losses.binary_cross_entropy)
        >>> value, _ = loss(params, state, (x, x), key=None, train=True)  # (noisy, x) for a denoising one
        >>> value.shape, autoencoder_encode(model.config, params, x).shape
        ((), (3, 2))

    Reference:
        Hinton, Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006; Vincent et al.,
        Extracting and composing robust features with denoising autoencoders, 2008.

    Warning:
        Both papers have sigmoid units, trained layer by layer at first; ReLU, as here by default, needs no such start.
    """
    return build_model(config, AutoencoderConfig, _spec, _apply)


def autoencoder_encode(config: AutoencoderConfig, params: Params, x: Array) -> Array:
    """Return the codes of inputs.

    Args:
        config: of the network, `model.config`.
        params: of an `autoencoder`.
        x: `[batch, features]`.

    Returns:
        `[batch, code]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = autoencoder(AutoencoderConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> autoencoder_encode(model.config, params, jnp.ones((3, 64))).shape
        (3, 2)
    """
    check_config(config, AutoencoderConfig)
    return _encoder(config).apply(params["encoder"], {}, x, train=False)[0]  # type: ignore[no-any-return]


def autoencoder_decode(config: AutoencoderConfig, params: Params, codes: Array) -> Array:
    """Return what the decoder makes of codes.

    Args:
        config: of the network, `model.config`.
        params: of an `autoencoder`.
        codes: `[batch, code]`.

    Returns:
        `[batch, features]`, of a linear layer: `jax.nn.sigmoid` of it for pixels whose logits they are.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = autoencoder(AutoencoderConfig((64, 16, 2)))
        >>> params, _ = model.init(jax.random.key(0))
        >>> autoencoder_decode(model.config, params, jnp.zeros((3, 2))).shape
        (3, 64)
    """
    check_config(config, AutoencoderConfig)
    return _decoder(config).apply(params["decoder"], {}, codes, train=False)[0]  # type: ignore[no-any-return]
