"""The character network, against PyTorch's recurrent layers, and what it writes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets.decode import Sampling
from jaxnets.models import CharRNNConfig, char_rnn, char_rnn_sequence, generate_characters
from jaxnets.weights import recurrent_to_torch
from tests.compilations import count_compilations

TORCH = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
CONFIG = CharRNNConfig(7, hidden=6)
IDS = np.random.default_rng(0).integers(0, 7, (3, 11))


def torch_logits(params, ids, cell, layers):
    network = TORCH[cell](6, 6, num_layers=layers, batch_first=True)
    weights = recurrent_to_torch(params["layers"])
    network.load_state_dict({name: torch.tensor(np.array(array)) for name, array in weights.items()})
    embedded = torch.tensor(np.array(params["embedding"]["embedding"]))[torch.tensor(ids)]
    hidden, _ = network(embedded)
    kernel, bias = (torch.tensor(np.array(params["out"][name])) for name in ("kernel", "bias"))
    return hidden @ kernel + bias


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_logits_are_pytorchs(cell, layers):
    model = char_rnn(CharRNNConfig(7, cell=cell, hidden=6, layers=layers))
    params, state = model.init(jax.random.key(1))
    logits, _ = model.apply(params, state, jnp.asarray(IDS), train=False)
    np.testing.assert_allclose(logits, torch_logits(params, IDS, cell, layers).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_likeliest_characters_are_those_of_reading_the_whole_text_again(cell):
    config = CharRNNConfig(7, cell=cell, hidden=6)
    params, _ = char_rnn(config).init(jax.random.key(2))
    drawn = generate_characters(config, params, IDS, 8, sampling=Sampling(temperature=0.0)).ids
    text = IDS
    for _ in range(8):
        following = torch_logits(params, text, cell, 1)[:, -1].argmax(dim=-1).numpy()
        text = np.concatenate([text, following[:, None]], axis=1)
    np.testing.assert_array_equal(drawn, text[:, 11:])


def test_characters_are_drawn_with_the_probabilities_of_the_softmax():
    params, _ = char_rnn(CONFIG).init(jax.random.key(3))
    prompt = jnp.broadcast_to(jnp.asarray(IDS[:1]), (20_000, 11))
    drawn = generate_characters(CONFIG, params, prompt, 1, sampling=Sampling(0.5), key=jax.random.key(4)).ids
    expected = torch.softmax(torch_logits(params, IDS[:1], "lstm", 1)[0, -1] / 0.5, dim=-1).detach().numpy()
    shares = np.bincount(np.asarray(drawn[:, 0]), minlength=7) / 20_000
    # Five standard deviations of a share.
    assert np.all(np.abs(shares - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000))


def test_characters_of_prompts_of_different_lengths_are_those_of_each_alone():
    params, _ = char_rnn(CONFIG).init(jax.random.key(3))
    prompts, greedy = [[1, 2, 3, 4, 5], [6], [0, 2]], Sampling(temperature=0.0)
    together = generate_characters(CONFIG, params, prompts, 8, sampling=greedy, stop=[4])
    for row, prompt in enumerate(prompts):
        alone = generate_characters(CONFIG, params, jnp.array([prompt]), 8, sampling=greedy, stop=[4])
        np.testing.assert_array_equal(together.ids[row], alone.ids[0])
        np.testing.assert_allclose(together.log_probs[row], alone.log_probs[0], rtol=1e-5)


def test_dropout_acts_in_training_only():
    params, _ = char_rnn(CONFIG).init(jax.random.key(3))
    ids = jnp.asarray(IDS)
    dropout = dataclasses.replace(CONFIG, dropout_rate=0.5)
    plain, _ = char_rnn_sequence(CONFIG, params, ids, train=False)
    same, _ = char_rnn_sequence(dropout, params, ids, train=False)
    dropped, _ = char_rnn_sequence(dropout, params, ids, key=jax.random.key(0), train=True)
    np.testing.assert_array_equal(plain, same)
    assert float(jnp.max(jnp.abs(dropped - plain))) > 1e-3


def test_wrong_settings_are_refused():
    params, _ = char_rnn(CONFIG).init(jax.random.key(3))
    with pytest.raises(ValueError, match="cell must be one of rnn, lstm, gru, got 'transformer'"):
        CharRNNConfig(7, cell="transformer")
    with pytest.raises(ValueError, match=r"prompt must be \[batch, time\] with time >= 1, got \[1, 0\]"):
        generate_characters(CONFIG, params, jnp.zeros((1, 0), jnp.int32), 3, key=jax.random.key(0))
    with pytest.raises(ValueError, match="temperature must be a number from 0, got -1"):
        generate_characters(CONFIG, params, [[0]], 3, sampling=Sampling(-1), key=jax.random.key(0))


def test_generation_is_compiled_once_outside_of_jit():
    params, _ = char_rnn(CONFIG).init(jax.random.key(3))
    keys = list(map(jax.random.key, range(3)))
    with count_compilations() as first:
        generate_characters(CONFIG, params, IDS, 9, key=keys[0])
    with count_compilations() as later:
        generate_characters(CharRNNConfig(7, hidden=6), params, IDS[::-1] // 2, 9, sampling=Sampling(0.5), key=keys[1])
        generate_characters(CONFIG, params, IDS[:, :9].tolist(), 9, sampling=Sampling(0.0))
    assert first.count > 0
    assert later.count == 0
