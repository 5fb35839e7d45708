"""Networks from folders of Hugging Face: `config.json` and weights in safetensors files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets import models
from jaxnets.errors import FileError
from jaxnets.model import Model
from jaxnets.report.strict_json import read_object
from jaxnets.types import Params
from jaxnets.weights.files import read_safetensors
from jaxnets.weights.torch_files import read_torch
from jaxnets.weights.torch_modules import from_torch

_ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
}
_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


class _Family(NamedTuple):
    """How a `model_type` becomes a network.

    Attributes:
        make: of the settings in `config.json`.
        prefix: of the names, which files of a network without a head leave out.
        stripped: a prefix of the names of a network with a head, which the others do not have.
        unread: the beginnings of names of arrays that the network here does not have.
    """

    make: Callable[[Mapping[str, Any]], Model]
    prefix: str = ""
    stripped: str = ""
    unread: tuple[str, ...] = ()


def load_hugging_face(folder: str | os.PathLike[str]) -> tuple[Model, Params]:
    """Read a network and its weights from a folder of Hugging Face's.

    ====================== ==============================================
    `model_type`           network
    ====================== ==============================================
    `gpt2`                 `models.gpt`
    `llama`, `qwen2`,      `models.llama`
    `qwen3`
    `bert`                 `models.bert`, without pooler and heads
    `clip`                 `models.clip`, both halves
    ====================== ==============================================

    Args:
        folder: with `config.json` and `model.safetensors`, or several such files and their index, or
            `pytorch_model.bin`.

    Returns:
        `(model, params)`, in the dtypes of the files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the network is of another kind, has a setting that the one here has not, or a file is damaged or
            does not fit.

    Example:
        `model, params = load_hugging_face("Qwen2-0.5B")`; then
        `decode.generate(models.llama_step(model.config, params), ...)`.
    """
    folder = Path(folder).expanduser()
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"load_hugging_face: there is no config.json in {folder}")
    settings = read_object(path)
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in _FAMILIES:
        raise FileError(f"{path}: model_type must be one of {', '.join(_FAMILIES)}, got {kind!r}")
    family = _FAMILIES[kind]
    try:
        model = family.make(settings)
    except KeyError as error:
        raise FileError(f"{path}: the setting {error} is missing") from None
    return model, from_torch(_arrays(folder, family), model)[0]


def _arrays(folder: Path, family: _Family) -> dict[str, Any]:
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"load_hugging_face: there is none of {', '.join(_FILES)} in {folder}")
    arrays = read_torch(path) if path.suffix == ".bin" else read_safetensors(path)
    if family.prefix and not any(name.startswith(family.prefix) for name in arrays):
        arrays = {family.prefix + name: array for name, array in arrays.items()}
    arrays = {name.removeprefix(family.stripped): array for name, array in arrays.items()}
    return {name: array for name, array in arrays.items() if not name.startswith(family.unread)}


def _gpt2(settings: Mapping[str, Any]) -> Model:
    _refuse(settings, scale_attn_by_inverse_layer_idx=False, scale_attn_weights=True, tie_word_embeddings=True)
    _refuse(settings, layer_norm_epsilon=1e-5)
    return models.gpt(
        models.GPTConfig(
            vocabulary=settings["vocab_size"],
            context=settings["n_positions"],
            layers=settings["n_layer"],
            heads=settings["n_head"],
            features=settings["n_embd"],
            activation=_activation(settings.get("activation_function", "gelu_new")),
        )
    )


def _llama(settings: Mapping[str, Any]) -> Model:
    _refuse(settings, hidden_act="silu", mlp_bias=False, use_sliding_window=False)
    kind = settings["model_type"]
    if kind != "qwen2":
        _refuse(settings, attention_bias=False)
    if kind == "qwen3":
        _refuse(settings, rms_norm_eps=1e-6)
    rotary = settings.get("rope_parameters") or {}
    _refuse({**settings, **rotary}, partial_rotary_factor=1.0)
    return models.llama(
        models.LlamaConfig(
            vocabulary=settings["vocab_size"],
            layers=settings["num_hidden_layers"],
            heads=settings["num_attention_heads"],
            kv_heads=settings.get("num_key_value_heads") or settings["num_attention_heads"],
            head_dim=settings.get("head_dim") or 0,
            features=settings["hidden_size"],
            hidden=settings["intermediate_size"],
            base=float(rotary.get("rope_theta") or settings.get("rope_theta") or 10_000.0),
            epsilon=settings.get("rms_norm_eps", 1e-6),
            qkv_bias=kind == "qwen2",
            head_norm=kind == "qwen3",
            tied=settings.get("tie_word_embeddings", False),
            **_slower_waves(settings.get("rope_scaling") or rotary),
        )
    )


def _slower_waves(scaling: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `LlamaConfig` for a context that was made longer."""
    kind = scaling.get("rope_type", scaling.get("type", "default"))  # older files say `type`
    if kind == "default":
        return {}
    if kind != "llama3":
        raise ValueError(
            f"load_hugging_face: rotary positions of the kind {kind!r} are not known, only 'default' and 'llama3'"
        )
    return {
        "rotary_factor": scaling["factor"],
        "rotary_low": scaling["low_freq_factor"],
        "rotary_high": scaling["high_freq_factor"],
        "rotary_context": scaling["original_max_position_embeddings"],
    }


def _bert(settings: Mapping[str, Any]) -> Model:
    _refuse(settings, position_embedding_type="absolute", is_decoder=False)
    return models.bert(
        models.BertConfig(
            vocabulary=settings["vocab_size"],
            context=settings["max_position_embeddings"],
            types=settings.get("type_vocab_size", 2),
            layers=settings["num_hidden_layers"],
            heads=settings["num_attention_heads"],
            features=settings["hidden_size"],
            hidden=settings["intermediate_size"],
            epsilon=settings.get("layer_norm_eps", 1e-12),
            activation=_activation(settings.get("hidden_act", "gelu")),
        )
    )


def _clip(settings: Mapping[str, Any]) -> Model:
    image, text = (_half(settings, name, defaults) for name, defaults in _CLIP_DEFAULTS.items())
    for half in (image, text):
        _refuse(half, intermediate_size=4 * half["hidden_size"])
    for name in ("hidden_act", "layer_norm_eps"):
        if image[name] != text[name]:
            raise ValueError(
                f"load_hugging_face: {name} must be the same in vision_config and text_config, got {image[name]!r} and "
                f"{text[name]!r}"
            )
    end = text["eos_token_id"]
    return models.clip(
        models.CLIPConfig(
            image_size=_two_sizes(image["image_size"]),
            patch_size=_square("patch_size", image["patch_size"]),
            channels=image["num_channels"],
            image_layers=image["num_hidden_layers"],
            image_heads=image["num_attention_heads"],
            image_features=image["hidden_size"],
            vocabulary=text["vocab_size"],
            context=text["max_position_embeddings"],
            end_of_text=None if end == _HIGHEST_ID else end,
            text_layers=text["num_hidden_layers"],
            text_heads=text["num_attention_heads"],
            text_features=text["hidden_size"],
            embedding=settings.get("projection_dim", 512),
            activation=_activation(text["hidden_act"]),
            epsilon=text["layer_norm_eps"],
        )
    )


_HIGHEST_ID = 2
"""The `eos_token_id` of the published files of CLIP, which stands for the token of the highest id."""

_CLIP_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "vision_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 32,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
    "text_config": {
        "vocab_size": 49_408,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "max_position_embeddings": 77,
        "eos_token_id": 49_407,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
    },
}
"""What the settings of each half are where a file leaves them out, as older ones do."""


def _half(settings: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one half of CLIP; where older files have them under another name too, that one counts."""
    half = settings.get(name) if settings.get(f"{name}_dict") is None else settings[f"{name}_dict"]
    if half is not None and not isinstance(half, dict):
        raise ValueError(f"load_hugging_face: {name} must be an object, got {half!r}")
    return {**defaults, **(half or {})}


def _two_sizes(size: Any) -> tuple[int, ...]:
    """Height and width of an image, which may be given as one number."""
    return tuple(size) if isinstance(size, list) else (size, size)


def _square(name: str, size: Any) -> Any:
    """The only number, or that of a list of equal ones."""
    if not isinstance(size, list):
        return size
    if len(set(size)) != 1:
        raise ValueError(f"load_hugging_face: {name} must be one number, got {size!r}")
    return size[0]


def _activation(name: str) -> str:
    if name not in _ACTIVATIONS:
        raise ValueError(f"load_hugging_face: the activation must be one of {', '.join(_ACTIVATIONS)}, got {name!r}")
    return _ACTIVATIONS[name]


def _refuse(settings: Mapping[str, Any], **expected: Any) -> None:
    """Raise ValueError if a setting has another value than the only one that the networks here know."""
    for name, value in expected.items():
        if settings.get(name, value) != value:
            raise ValueError(f"load_hugging_face: {name} must be {value!r}, got {settings[name]!r}")


_FAMILIES = {
    "gpt2": _Family(_gpt2, "transformer."),
    "llama": _Family(_llama, "model."),
    "qwen2": _Family(_llama, "model."),
    "qwen3": _Family(_llama, "model."),
    "clip": _Family(_clip),
    "bert": _Family(_bert, stripped="bert.", unread=("pooler.", "cls.", "classifier.", "embeddings.position_ids")),
}
