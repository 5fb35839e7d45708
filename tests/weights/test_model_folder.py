"""Networks in folders: what is saved is made again, a failed save leaves the one before, and what is wrong is said."""

import dataclasses
import json
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxnets
from jaxnets import Model, make_model, models, nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.training import compute_in
from jaxnets.weights import load_model, model_folder, save_model

SMALL = {"small_images": True, "width": 1 / 16}
CONFIGS = [
    models.AdalineConfig(3, bias=False),
    models.AutoencoderConfig((5, 4, 2), activation="tanh"),
    models.BertConfig(5, 6, layers=1, heads=2, features=4, hidden=6),
    models.CLIPConfig(
        (16, 8),
        4,
        stem=(3,),
        image_layers=1,
        image_heads=2,
        image_features=4,
        vocabulary=5,
        context=4,
        end_of_text=2,
        text_layers=1,
        text_heads=1,
        text_features=3,
        embedding=2,
    ),
    models.CharRNNConfig(5, cell="gru", hidden=4, layers=2, dropout_rate=0.1),
    models.CifarResNetConfig(8, 3, width=2, residual=False),
    models.DCGANDiscriminatorConfig(28, 1, width=2, norm="spectral"),
    models.DCGANGeneratorConfig(28, 1, noise=3, width=2),
    models.DLinearConfig(5, 2, window=3),
    models.DiffusionUNetConfig(4, 1, 3, features=4, multipliers=(1,), blocks=1, attention=(), groups=2, scaled=True),
    models.efficientnet_config(1, classes=2, width=0.1, depth=0.1),
    models.efficientnet_lite_config(1, classes=2, width=0.1, depth=0.1, padding="half"),
    models.GPTConfig(5, 4, layers=1, heads=2, features=4, bias=False, activation="gelu_exact", remat=True),
    models.GoogLeNetConfig(3, large_kernel_size=5, **SMALL),
    models.IWAEConfig((5, 4, 2), samples=3),
    models.LSTMForecasterConfig(2, 3, hidden=4, dropout_rate=0.1),
    models.LeNet5Config(activation="relu", pool="max"),
    models.LlamaConfig(5, layers=1, heads=2, kv_heads=1, features=4, hidden=6, qkv_bias=True, tied=True),
    models.MLPConfig((3, 4, 4, 2), activation="tanh", norm=True, dropout_rate=0.2, residual=True),
    models.MnistCNNConfig(12, 14, dropout_rate=0.1),
    models.NLinearConfig(5, 2),
    models.PatchTSTConfig(20, 2, layers=1, heads=2, features=4, hidden=3),
    models.PerceptronConfig(3),
    models.ResNetConfig(18, 3, width=2),
    models.SegmentationUNetConfig(3, width=2, levels=1, norm=True, upsampling="bilinear", dropout_rate=0.1),
    models.SentenceCNNConfig(9, 3, features=4, widths=(2, 3), channels=5, dropout_rate=0.1),
    models.SentenceLSTMConfig(9, 3, features=4, hidden=5),
    models.Seq2SeqConfig(5, 6, cell="lstm", attention="multiplicative", embedding=3, hidden=4),
    models.SmallCNNConfig(4, 4),
    models.ThresholdNetworkConfig(2, 3),
    models.ThresholdNeuronConfig(2),
    models.TransformerConfig(5, 5, layers=1, heads=2, features=4, hidden=6, context=7, shared=True, norm_first=False),
    models.VAEConfig((5, 4, 2), activation="relu", deviation=0.5),
    models.VGGConfig(11, 3, pooled=1, hidden=(5,), width=1 / 32),
    models.ViTConfig(8, 4, 3, layers=1, heads=2, features=4, hidden=6),
    models.WhitenedCNNConfig(3, widths=(4, 4)),
]


def arrays_of(model):
    """Parameters and state of random numbers made by numpy, which compiles nothing."""
    generator = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape) * 9, leaf.dtype), shapes)


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_every_architecture_is_among_the_cases():
    assert {type(config) for config in CONFIGS} == set(models.ARCHITECTURES)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_what_is_saved_is_made_again(config, tmp_path):
    """The same config, of which the same function makes the same network, and the same arrays."""
    model = models.ARCHITECTURES[type(config)](config)
    params, state = arrays_of(model)
    save_model(tmp_path / "deep" / "net", model, params, state)
    again, again_params, again_state = load_model(tmp_path / "deep" / "net")
    assert again.config == config
    assert jax.tree.map(lambda leaf: leaf.shape, again.spec) == jax.tree.map(lambda leaf: leaf.shape, model.spec)
    assert_same((again_params, again_state), (params, state))


def test_the_network_computes_the_same_with_settings_that_are_not_the_default(tmp_path):
    model = models.mlp(models.MLPConfig((3, 4, 4, 2), activation="sigmoid", norm=True, residual=True))
    params, state = arrays_of(model)
    state = jax.tree.map(jnp.abs, state)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)), jnp.float32)
    expected, _ = model.apply(params, state, x, train=False)
    save_model(tmp_path, model, params, state)
    again, params, state = load_model(str(tmp_path))
    np.testing.assert_array_equal(again.apply(params, state, x, train=False)[0], expected)


@pytest.fixture
def saved(tmp_path):
    model = models.mlp(models.MLPConfig((3, 2)))
    params, state = arrays_of(model)
    save_model(tmp_path, model, params, state)
    return tmp_path, model, params


@pytest.mark.parametrize(
    ("config", "field", "value", "message"),
    [
        (models.CharRNNConfig(5, hidden=4), "layers", 10**9, "layers must be from 1 to 10,000, got 1000000000"),
        (models.CifarResNetConfig(8, 3, width=2), "depth", 6 * 10**9 + 2, "depth must be .* at most 10,000"),
        (models.efficientnet_config(0, width=0.1, depth=0.1), "depth", 1e9, "depth must be .* at most 100, got"),
        (models.MLPConfig((3, 2)), "sizes", [1] * 10_001, "sizes must be at most 10,000 sizes"),
        (models.VGGConfig(11, 3, hidden=(5,), width=1 / 32), "hidden", [1] * 10_001, "hidden must be at most 10,000"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_config_cannot_fill_the_memory_by_numbers_of_layers(config, field, value, message, tmp_path):
    model = models.ARCHITECTURES[type(config)](config)
    save_model(tmp_path, model, *arrays_of(model))
    content = json.loads((tmp_path / "config.json").read_text())
    content["config"][field] = value
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"config\.json, .*: {type(config).__name__}: {message}"):
        load_model(tmp_path)


def test_the_files_say_what_they_are(saved):
    folder, _, params = saved
    content = json.loads((folder / "config.json").read_text())
    weights = content.pop("weights")
    fields = {"sizes": [3, 2], "activation": "relu", "norm": False, "dropout_rate": 0.0, "residual": False}
    assert content == {"jaxnets": jaxnets.__version__, "architecture": "MLPConfig", "config": fields}
    assert sorted(os.listdir(folder)) == ["config.json", weights]
    arrays = safetensors.numpy.load_file(folder / weights)
    np.testing.assert_array_equal(arrays["params/layers/0/linear/kernel"], params["layers"][0]["linear"]["kernel"])


def test_another_network_takes_its_place_and_other_files_stay(saved):
    folder, model, params = saved
    (folder / "vocabulary.txt").write_text("a b c")
    moved = jax.tree.map(lambda leaf: leaf + 1, params)
    save_model(folder, model, moved)
    assert_same(load_model(folder)[1], moved)
    other = models.lenet5()
    arrays = arrays_of(other)
    save_model(folder, other, *arrays)
    assert_same(load_model(folder)[1:], arrays)
    assert len(os.listdir(folder)) == 3


@pytest.mark.parametrize("at", range(4))
def test_a_save_that_fails_anywhere_leaves_the_network_before(saved, monkeypatch, at):
    """Whichever of its renames or writes fails."""
    folder, model, params = saved
    replace, calls = os.replace, iter(range(4))

    def failing_replace(*args):
        if next(calls) == at:
            raise OSError("no space left on device")
        return replace(*args)

    def failing_write(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", failing_replace)
    if at == 3:
        monkeypatch.setattr(safetensors.numpy, "save_file", failing_write)
    before = sorted(os.listdir(folder))
    with pytest.raises(OSError, match="no space"):
        save_model(folder, model, jax.tree.map(lambda leaf: leaf + 1, params))
    monkeypatch.undo()
    assert_same(load_model(folder)[1], params)
    assert [name for name in sorted(os.listdir(folder)) if not name.startswith("weights-")] == ["config.json"]
    save_model(folder, model, params)
    assert sorted(os.listdir(folder)) == before


def test_damaged_and_missing_files(saved):
    folder, *_ = saved
    config, content = folder / "config.json", json.loads((folder / "config.json").read_text())
    (weights,) = folder.glob("weights-*.safetensors")
    whole = weights.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for damaged in (flipped, whole[:-4], b""):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"weights-\w+\.safetensors is damaged: its checksum is not that in its"):
            load_model(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*weights-\w+\.safetensors"):
        load_model(folder)
    for text in ("", "{", '{"jaxnets": "0.1.0"}', "[]", json.dumps(content | {"config": 3})):
        config.write_text(text)
        with pytest.raises(ValueError, match=r"config\.json is damaged"):
            load_model(folder)
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        load_model(folder)
    config.write_text(json.dumps(content | {"weights": "../weights-00000000.safetensors"}))
    with pytest.raises(ValueError, match=r"damaged: .* is no name of a file of save_model"):
        load_model(folder)
    config.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no network in .*: config\.json is missing; save_model"):
        load_model(folder)
    with pytest.raises(FileNotFoundError, match="there is no network in"):
        load_model(folder / "nowhere")


def rewrite(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_a_newer_version_wrote(saved):
    folder, *_ = saved
    rewrite(folder, jaxnets="9.0", config={"sizes": [3, 2], "rotary": True})
    version = jaxnets.__version__
    message = (
        rf"written by jaxnets 9\.0 \(this is {version}\): MLPConfig has no rotary; its fields are sizes, activation"
    )
    with pytest.raises(ValueError, match=message):
        load_model(folder)
    rewrite(folder, config={"sizes": [3, 2], "activation": "snake"})
    with pytest.raises(ValueError, match=r"written by jaxnets 9\.0 .*: MLPConfig: activation must be one of"):
        load_model(folder)
    rewrite(folder, architecture="MambaConfig")
    with pytest.raises(
        ValueError, match=r"9\.0 .*: the architecture 'MambaConfig' is none of AdalineConfig, .*MLPConfig"
    ):
        load_model(folder)


def test_arrays_of_another_size_are_listed(saved):
    folder, *_ = saved
    rewrite(folder, config={"sizes": [4, 2]})
    with pytest.raises(ValueError, match=r"params/layers/0/linear/kernel must be \[4, 2\], got \[3, 2\]"):
        load_model(folder)


@dataclasses.dataclass(frozen=True)
class OwnConfig(ModelConfig):
    features: PositiveInt
    factor: float = 2.0


def own(config):
    def apply(config, params, state, x, *, key=None, train):
        return config.factor * nn.linear(params, x), state

    return build_model(config, OwnConfig, lambda config: nn.linear_spec(config.features, 1), apply)


def test_an_architecture_of_ones_own(tmp_path):
    model = own(OwnConfig(2, factor=3.0))
    params = {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}
    save_model(tmp_path, model, params)
    with pytest.raises(ValueError, match=r"if it is your own, pass architectures={OwnConfig: the function that makes"):
        load_model(tmp_path)
    again, params, state = load_model(tmp_path, architectures={OwnConfig: own})
    np.testing.assert_array_equal(again.apply(params, state, jnp.ones((1, 2)), train=False)[0], [[6.0]])


def test_what_cannot_be_saved_is_refused(saved):
    folder, model, params = saved
    before = sorted(os.listdir(folder))
    plain = make_model(nn.linear_spec(2, 1), lambda params, state, x, *, key, train: (nn.linear(params, x), state))
    for without in (plain, Model(model.init, model.apply)):
        with pytest.raises(TypeError, match=r"has no config; make it by make_model\(spec, apply, config\)"):
            save_model(folder, without, {})
    with pytest.raises(ValueError, match=r"save_model: the arrays do not fit the spec:\n  missing params/layers/0"):
        save_model(folder, model, {})
    with pytest.raises(ValueError, match=r"kernel must be \[3, 2\], got \[5, 3, 2\]"):
        save_model(folder, model, jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), params))
    assert sorted(os.listdir(folder)) == before


def test_a_model_that_computes_in_another_dtype_keeps_its_config(saved):
    folder, model, params = saved
    save_model(folder, compute_in(jnp.bfloat16, model), params)
    assert load_model(folder)[0].config == model.config


def test_a_reader_takes_the_network_that_came_in_between(saved, monkeypatch):
    folder, model, params = saved
    changed = jax.tree.map(lambda leaf: leaf + 1, params)
    read = model_folder._read_weights

    def late(*arguments):
        monkeypatch.setattr(model_folder, "_read_weights", read)
        save_model(folder, model, changed)  # takes the file away that the config named
        return read(*arguments)

    monkeypatch.setattr(model_folder, "_read_weights", late)
    assert_same(load_model(folder)[1], changed)


def test_two_writers_leave_the_network_of_the_last_one(saved, monkeypatch):
    folder, model, params = saved
    first, second = (jax.tree.map(lambda leaf, by=by: leaf + by, params) for by in (1, 2))
    other = threading.Thread(target=save_model, args=(folder, model, second))
    write = model_folder.whole_file

    def meanwhile(path):
        monkeypatch.setattr(model_folder, "whole_file", write)
        other.start()
        other.join(0.5)  # it waits until the config of the first one is written
        assert other.is_alive()
        return write(path)

    monkeypatch.setattr(model_folder, "whole_file", meanwhile)
    save_model(folder, model, first)
    other.join()
    assert_same(load_model(folder)[1], second)
    assert len(list(folder.glob("weights-*"))) == 1
