"""CLIP against Hugging Face's, with random weights: vectors, the contrastive loss and its gradients, and settings."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import losses, models, weights
from tests.forms import float64
from tests.torchvision_oracle import import_torchvision

VISION = {
    "hidden_size": 32,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 12,
    "patch_size": 4,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 71,
    "max_position_embeddings": 9,
}
# Texts of different lengths, with an id after the end that is lower, and the end again as padding.
IDS = np.array([[3, 5, 70, 0, 0, 0, 0], [9, 7, 60, 3, 8, 11, 70], [1, 70, 70, 70, 70, 70, 70]], np.int32)
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def transformers():
    import_torchvision("torchvision")  # transformers imports it where it is installed
    return pytest.importorskip("transformers")


def make(transformers, end=70, activation="quick_gelu"):
    config = transformers.CLIPConfig(
        text_config={**TEXT, "eos_token_id": end, "hidden_act": activation},
        vision_config={**VISION, "hidden_act": activation},
        projection_dim=24,
    )
    torch.manual_seed(0)
    network = transformers.CLIPModel(config).eval()
    for name, parameter in network.named_parameters():
        if name != "logit_scale":
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def torch_images(dtype=torch.float32):
    return torch.tensor(IMAGES, dtype=dtype).movedim(-1, 1)


@pytest.mark.parametrize(
    ("end", "expected"), [(2, None), (70, 70), (60, 60)], ids=["highest id", "first of the highest", "first of another"]
)
def test_vectors_are_hugging_face_s(end, expected, transformers, tmp_path):
    """In both of its conventions of the end of text."""
    ids = np.where(IDS[:, :1] == 9, IDS, np.where(IDS == 70, 60, IDS)) if end == 60 else IDS
    network = make(transformers, end, "gelu" if end == 60 else "quick_gelu")
    network.save_pretrained(tmp_path)
    model, params = weights.load_hugging_face(tmp_path)
    assert model.config.end_of_text == expected
    outputs, _ = jax.jit(lambda p, inputs: model.apply(p, {}, inputs, train=False))(
        params, models.CLIPInputs(IMAGES, ids)
    )
    with torch.no_grad():
        theirs = network(input_ids=torch.tensor(ids).long(), pixel_values=torch_images())
    np.testing.assert_allclose(outputs.images, theirs.image_embeds, rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs.texts, theirs.text_embeds, rtol=0, atol=2e-6)
    logits = jnp.exp(outputs.log_scale) * outputs.images @ outputs.texts.T
    np.testing.assert_allclose(logits, theirs.logits_per_image, rtol=0, atol=5e-5)


def test_loss_and_gradients_are_hugging_face_s_and_weights_come_back(transformers, tmp_path):
    network = make(transformers).double()
    network.save_pretrained(tmp_path)
    expected = network(
        input_ids=torch.tensor(IDS).long(), pixel_values=torch_images(torch.float64), return_loss=True
    ).loss
    expected.backward()
    with float64():
        model, params = weights.load_hugging_face(tmp_path)
        inputs = models.CLIPInputs(jnp.asarray(IMAGES, jnp.float64), IDS)

        def loss(params):
            return jnp.mean(losses.info_nce(*model.apply(params, {}, inputs, train=True)[0]))

        value, gradient = jax.jit(jax.value_and_grad(loss))(params)
        actual, back = weights.to_torch(gradient, {}, model), weights.to_torch(params, {}, model)
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-10)
    assert back.keys() == dict(network.named_parameters()).keys()
    for name, parameter in network.named_parameters():
        np.testing.assert_array_equal(back[name], parameter.detach(), err_msg=name)
        scale = max(1e-3, float(parameter.grad.abs().max()))
        np.testing.assert_allclose(actual[name], parameter.grad, rtol=0, atol=1e-8 * scale, err_msg=name)


def test_settings_left_out_are_those_of_hugging_face(transformers, tmp_path):
    """As in the published files: little more than the name, and settings under the older names too."""
    arrays = make(transformers)
    arrays.save_pretrained(tmp_path)
    settings = {"model_type": "clip", "projection_dim": 24, "text_config": {**TEXT, "vocab_size": 5}}
    settings |= {"vision_config": VISION, "text_config_dict": {**TEXT, "eos_token_id": 70}, "vision_config_dict": None}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    config = weights.load_hugging_face(tmp_path)[0].config
    theirs = transformers.CLIPConfig.from_pretrained(tmp_path)
    assert config.vocabulary == theirs.text_config.vocab_size == 71
    assert (config.end_of_text, config.epsilon) == (theirs.text_config.eos_token_id, theirs.text_config.layer_norm_eps)
    assert (config.activation, config.channels) == (theirs.text_config.hidden_act, theirs.vision_config.num_channels)


@pytest.fixture
def folder(transformers, tmp_path):
    make(transformers).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("half", "settings", "message"),
    [
        ("text_config", {"hidden_act": "gelu"}, "hidden_act must be the same .* got 'quick_gelu' and 'gelu'"),
        ("vision_config", {"intermediate_size": 48}, "intermediate_size must be 128, got 48"),
        ("vision_config", {"patch_size": [4, 3]}, r"patch_size must be one number, got \[4, 3\]"),
        ("text_config", {"eos_token_id": 71}, "end_of_text must be below the vocabulary of 71, got 71"),
        ("text_config", {"num_hidden_layers": 3}, "missing text_model.encoder.layers.2"),
    ],
)
def test_what_does_not_fit_is_an_error(folder, half, settings, message):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content[half] |= settings
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        weights.load_hugging_face(folder)


def test_a_stem_has_no_names():
    model = models.clip(models.CLIPConfig((16, 16), 2, stem=(4,)))
    with pytest.raises(ValueError, match=r"have no CLIP with a stem, such as this of \(4,\)"):
        weights.torch_names(model)


@pytest.mark.parametrize(
    ("patch_size", "large", "parameters"), [(32, False, 151_277_313), (16, False, 149_620_737), (14, True, 427_616_513)]
)
def test_parameters_of_the_published_networks(transformers, patch_size, large, parameters):
    """Counted in Hugging Face's networks, without making their arrays."""
    ours = models.CLIPConfig(patch_size=patch_size)
    vision, text = {"patch_size": patch_size}, {}
    if large:
        ours = models.CLIPConfig(
            patch_size=14,
            image_layers=24,
            image_heads=16,
            image_features=1024,
            text_heads=12,
            text_features=768,
            embedding=768,
        )
        vision |= {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
        text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=ours.embedding)
    with torch.device("meta"):
        theirs = sum(parameter.numel() for parameter in transformers.CLIPModel(config).parameters())
    shapes = jax.eval_shape(lambda: models.clip(ours).init(jax.random.key(0))[0])
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == theirs == parameters
