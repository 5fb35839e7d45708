"""The networks of sentences against PyTorch, which reads each sentence by itself, without padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

from jaxnets.models import SentenceCNNConfig, SentenceLSTMConfig, sentence_cnn, sentence_lstm
from jaxnets.weights import recurrent_to_torch
from tests.oracles import normal
from tests.torch_oracle import assert_parity

LENGTHS = [7, 1, 4, 2]
IDS = np.where(np.arange(9) < np.array(LENGTHS)[:, None], np.random.default_rng(0).integers(1, 11, (4, 9)), 0)
CNN = sentence_cnn(SentenceCNNConfig(11, 3, features=6, widths=(2, 3, 5), channels=4))
LSTM = sentence_lstm(SentenceLSTMConfig(11, 3, features=6, hidden=5))


def random_params(model):
    params, _ = model.init(jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, [np.asarray(normal(*p.shape, seed=i)) for i, p in enumerate(leaves)])


def torch_cnn(params):
    """Kim's network of one sentence after the other, whose zeros at both ends are those of `Conv1d`'s padding."""
    rows = []
    for ids, length in zip(IDS, LENGTHS, strict=True):
        words = params["embedding"]["embedding"][torch.tensor(ids[:length])].T[None]  # [1, features, time]
        largest = []
        for conv in params["convs"]:
            kernel = conv["kernel"].movedim(0, -1).transpose(0, 1)  # [out, in, width]
            values = functional.conv1d(words, kernel, conv["bias"], padding=kernel.shape[-1] - 1)
            largest.append(torch.relu(values).amax(dim=-1)[0])
        rows.append(torch.cat(largest))
    return torch.stack(rows) @ params["out"]["kernel"] + params["out"]["bias"]


def test_cnn_is_pytorchs_in_value_and_gradient():
    def ours(params):
        return CNN.apply(params, {}, jnp.asarray(IDS), train=False)[0]

    assert_parity(ours, torch_cnn, random_params(CNN))


def test_lstm_is_pytorchs():
    params = jax.tree.map(jnp.asarray, random_params(LSTM))
    network = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    weights = recurrent_to_torch(params["lstm"])
    network.load_state_dict({name: torch.tensor(np.array(array)) for name, array in weights.items()})
    table = torch.tensor(np.array(params["embedding"]["embedding"]))
    ends = [network(table[torch.tensor(ids[:n])][None])[1][0].flatten() for ids, n in zip(IDS, LENGTHS, strict=True)]
    kernel, bias = (torch.tensor(np.array(params["out"][name])) for name in ("kernel", "bias"))
    logits, _ = LSTM.apply(params, {}, jnp.asarray(IDS), train=False)
    np.testing.assert_allclose(logits, (torch.stack(ends) @ kernel + bias).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [CNN, LSTM])
def test_padding_changes_nothing(model):
    params = jax.tree.map(jnp.asarray, random_params(model))
    table = params["embedding"]["embedding"].at[0].set(jnp.nan)  # the row of padding is never read
    params = params | {"embedding": {"embedding": table}}
    for ids, length in zip(IDS, LENGTHS, strict=True):
        alone, _ = model.apply(params, {}, jnp.asarray(ids[None, :length]), train=False)
        padded, _ = model.apply(params, {}, jnp.asarray(ids[None]), train=False)
        np.testing.assert_allclose(alone, padded, rtol=1e-5, atol=1e-6)


def test_an_empty_sentence_has_finite_logits():
    for model in (CNN, LSTM):
        params = random_params(model)
        value, slope = jax.value_and_grad(
            lambda p, model=model: jnp.sum(model.apply(p, {}, jnp.zeros((2, 3), jnp.int32), train=False)[0])
        )(params)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_the_paper_has_this_many_parameters():
    """By hand: 300 a word, 3 to 5 words of 300 for 100 channels and their biases, and 300 weights a class."""
    model = sentence_cnn(SentenceCNNConfig(1000, 6))
    expected = 1000 * 300 + (3 + 4 + 5) * 300 * 100 + 3 * 100 + 300 * 6 + 6
    assert (
        sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda: model.init(jax.random.key(0))[0]))) == expected
    )
