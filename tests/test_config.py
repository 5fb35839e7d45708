"""Configs: what they take, what they refuse and how they say it, and JSON there and back."""

import dataclasses
import json
import re
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import Model, make_model, models, nn
from jaxnets.config import ACTIVATIONS, Activation, ModelConfig, PositiveFloat, PositiveInt, Rate, build_model, one_of


@dataclasses.dataclass(frozen=True)
class EveryConfig(ModelConfig):
    """One field of each kind."""

    sizes: tuple[PositiveInt, ...]
    units: PositiveInt = 3
    hidden: PositiveInt | None = None
    width: PositiveFloat = 1.0
    offset: float = 0.0
    rate: Rate = 0.0
    flag: bool = False
    label: str = ""
    activation: Activation = "relu"
    depth: Annotated[int, one_of({11: "a", 13: "b"})] = 11


def test_values_become_the_type_of_their_field():
    """So that equal settings are equal configs, and what JSON gives back is the same."""
    given = EveryConfig([np.int64(2), 3], np.int32(4), np.int8(5), 1, np.float32(0.1), 0, np.bool_(True), depth=13)
    plain = EveryConfig((2, 3), 4, 5, 1.0, float(np.float32(0.1)), 0.0, True, depth=13)
    assert given == plain
    assert hash(given) == hash(plain)
    types = [type(getattr(given, field.name)) for field in dataclasses.fields(given)]
    assert types == [tuple, int, int, float, float, float, bool, str, str, int]
    assert [type(size) for size in given.sizes] == [int, int]


@pytest.mark.parametrize(
    "config",
    [
        EveryConfig((1,)),
        EveryConfig((7, 8), hidden=2, width=1 / 3, offset=-1e-300, rate=0.1, flag=True, label='größer "1"\n'),
        models.efficientnet_config(5, classes=7),
    ],
)
def test_json_there_and_back_is_the_same_config(config):
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert type(config).from_dict(json.loads(text)) == config
    assert json.loads(text) == config.to_dict()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"units": 0}, ValueError, "EveryConfig: units must be at least 1, got 0"),
        ({"units": 2.0}, TypeError, "EveryConfig: units must be a whole number, got 2.0"),
        ({"units": True}, TypeError, "EveryConfig: units must be a whole number, got True"),
        ({"units": "3"}, TypeError, "EveryConfig: units must be a whole number, got '3'"),
        ({"units": None}, TypeError, "EveryConfig: units must be a whole number, got None"),
        ({"hidden": -1}, ValueError, "EveryConfig: hidden must be at least 1, got -1"),
        ({"sizes": 3}, TypeError, "EveryConfig: sizes must be a tuple, got 3"),
        ({"sizes": "34"}, TypeError, "EveryConfig: sizes must be a tuple, got '34'"),
        ({"sizes": (3, 0)}, ValueError, r"EveryConfig: sizes\[1\] must be at least 1, got 0"),
        ({"width": 0}, ValueError, "EveryConfig: width must be greater than 0, got 0.0"),
        ({"offset": float("inf")}, ValueError, "EveryConfig: offset must be finite, got inf"),
        ({"offset": float("nan")}, ValueError, "EveryConfig: offset must be finite, got nan"),
        ({"offset": 10**400}, ValueError, "EveryConfig: offset must be finite, got 1000"),
        ({"offset": 1j}, TypeError, "EveryConfig: offset must be a number, got 1j"),
        ({"rate": 1.5}, ValueError, r"EveryConfig: rate must be a probability in \[0, 1\], got 1.5"),
        ({"flag": 1}, TypeError, "EveryConfig: flag must be True or False, got 1"),
        ({"label": 1}, TypeError, "EveryConfig: label must be a string, got 1"),
        ({"activation": jax.nn.relu}, TypeError, "EveryConfig: activation must be a string, got <"),
        (
            {"activation": "swish"},
            ValueError,
            "EveryConfig: activation must be one of celu, elu, gelu_exact, gelu_tanh",
        ),
        ({"depth": 12}, ValueError, "EveryConfig: depth must be one of 11, 13, got 12"),
    ],
)
def test_what_is_refused_says_what_came_and_what_may(settings, error, message):
    with pytest.raises(error, match=message):
        EveryConfig(**({"sizes": (1,)} | settings))


def test_names_that_are_unknown_or_missing():
    with pytest.raises(ValueError, match="EveryConfig has no rotary, norm; its fields are sizes, units, hidden, "):
        EveryConfig.from_dict({"sizes": [1], "rotary": 3, "norm": "rms"})
    with pytest.raises(ValueError, match="EveryConfig needs sizes too, got units, flag"):
        EveryConfig.from_dict({"units": 3, "flag": False})


def test_a_field_of_another_kind_is_refused():
    @dataclasses.dataclass(frozen=True)
    class ArrayConfig(ModelConfig):
        values: np.ndarray

    with pytest.raises(TypeError, match="ArrayConfig: values must be annotated as bool, int, float, str, a tuple"):
        ArrayConfig(np.ones(2))


def test_one_program_serves_many_rates():
    """A rate may be traced; the masks are then those of a config with that number."""

    def outputs(rate):
        model = models.mlp(models.MLPConfig((3, 50, 2), dropout_rate=rate))
        params, state = model.init(jax.random.key(0))
        return model.apply(params, state, jnp.ones((4, 3)), key=jax.random.key(1), train=True)[0]

    rates = jnp.array([0.1, 0.5])
    together = jax.jit(jax.vmap(outputs))(rates)
    for row, rate in zip(together, (0.1, 0.5), strict=True):
        np.testing.assert_allclose(row, outputs(rate), rtol=1e-5, atol=1e-6)

    def written(rate):
        return models.MLPConfig((3, 2), dropout_rate=rate).to_dict()

    with pytest.raises(TypeError, match="MLPConfig: dropout_rate is traced and cannot be written; write a number"):
        jax.jit(written)(0.5)


TORCH = {
    "celu": torch.nn.CELU(),
    "elu": torch.nn.ELU(),
    "gelu_exact": torch.nn.GELU(),
    "gelu_tanh": torch.nn.GELU(approximate="tanh"),
    "hard_sigmoid": torch.nn.Hardsigmoid(),
    "hard_swish": torch.nn.Hardswish(),
    "hard_tanh": torch.nn.Hardtanh(),
    "identity": torch.nn.Identity(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "mish": torch.nn.Mish(),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": torch.nn.ReLU(),
    "relu6": torch.nn.ReLU6(),
    "selu": torch.nn.SELU(),
    "sigmoid": torch.nn.Sigmoid(),
    "silu": torch.nn.SiLU(),
    "soft_sign": torch.nn.Softsign(),
    "softplus": torch.nn.Softplus(),
    "tanh": torch.nn.Tanh(),
}


def test_activations_are_those_of_their_names():
    x = np.linspace(-7, 7, 57, dtype=np.float32)
    assert ACTIVATIONS.keys() == TORCH.keys()
    for name, activation in ACTIVATIONS.items():
        expected = TORCH[name](torch.tensor(x))
        np.testing.assert_allclose(activation(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_model_is_hashable_and_knows_what_it_was_made_of():
    config = models.MLPConfig((2, 3))
    model = models.mlp(config)
    assert model.config is config
    assert model.spec["layers"][0]["linear"]["kernel"].shape == (2, 3)
    apply = jax.jit(lambda model, params, x: model.apply(params, {}, x, train=False)[0], static_argnums=0)
    params, _ = model.init(jax.random.key(0))
    np.testing.assert_array_equal(apply(model, params, jnp.zeros((1, 2))), jnp.zeros((1, 3)))
    without = make_model(nn.linear_spec(2, 3), lambda params, state, x, *, key, train: (nn.linear(params, x), state))
    assert without.config is None


@pytest.mark.parametrize("make", models.ARCHITECTURES.values())
def test_other_things_than_a_config_are_refused(make):
    with pytest.raises(TypeError, match=r"config must be \w+Config\(...\), got tuple; write \w+Config\(...\)"):
        make((3, 2))
    with pytest.raises(TypeError, match=r"got Model; pass model.config"):
        make(Model(None, None))


def test_the_class_of_another_network_is_refused():
    with pytest.raises(TypeError, match=r"config must be GPTConfig\(...\), got ViTConfig; write GPTConfig\(...\)"):
        build_model(models.ViTConfig(), models.GPTConfig, lambda config: {}, lambda *args, **kwargs: None)


SMALL_CLIP = {
    "image_layers": 1,
    "image_heads": 2,
    "image_features": 4,
    "vocabulary": 5,
    "context": 4,
    "text_layers": 1,
    "text_heads": 2,
    "text_features": 4,
    "embedding": 3,
}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (models.bert(models.BertConfig(5, 4, layers=1, heads=2, features=4, hidden=6)), "BertInputs(ids, mask, types)"),
        (models.clip(models.CLIPConfig((8, 8), 4, **SMALL_CLIP)), "CLIPInputs(images, ids)"),
        (models.seq2seq(models.Seq2SeqConfig(5, 5, embedding=3, hidden=4)), "SourceTarget(source, target)"),
        (
            models.transformer(models.TransformerConfig(5, 5, layers=1, heads=2, features=4, hidden=6)),
            "SourceTarget(source, target)",
        ),
    ],
)
def test_inputs_of_another_form_are_an_error(model, fields):
    params, state = model.init(jax.random.key(0))
    with pytest.raises(TypeError, match=re.escape(f"inputs must be {fields}, got int32[2, 3]")):
        model.apply(params, state, jnp.zeros((2, 3), jnp.int32), train=False)
