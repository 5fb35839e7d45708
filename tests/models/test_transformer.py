"""The encoder-decoder Transformer against PyTorch's `nn.Transformer`, and its cached step against the whole network."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import decode, models, weights
from tests.forms import float64

CONFIG = models.TransformerConfig(
    11, 13, layers=2, heads=2, features=8, hidden=20, context=9, tied=False, dropout_rate=0.0
)
SOURCE = np.array([[3, 4, 5, 6, 0], [7, 8, 0, 0, 0], [1, 2, 3, 4, 5]], np.int32)
TARGET = np.array([[1, 5, 6, 7], [1, 9, 0, 0], [1, 12, 2, 0]], np.int32)


class Theirs(torch.nn.Module):
    def __init__(self, norm_first, tied):
        super().__init__()
        stacks = torch.nn.Transformer(8, 2, 2, 2, 20, dropout=0.0, batch_first=True, norm_first=norm_first)
        self.encoder, self.decoder = stacks.encoder, stacks.decoder
        self.source, self.target = torch.nn.Embedding(11, 8), torch.nn.Embedding(13, 8)
        if tied:
            self.out_bias = torch.nn.Parameter(torch.zeros(13))
        else:
            self.out = torch.nn.Linear(8, 13)

    def embed(self, table, ids):
        time, place = np.meshgrid(np.arange(ids.shape[1]), np.arange(4), indexing="ij")
        angle = time / 10_000 ** (2 * place / 8)
        return table(ids) * 8**0.5 + torch.tensor(np.concatenate([np.sin(angle), np.cos(angle)], axis=1))

    def forward(self, source, target):
        padding = source == 0
        memory = self.encoder(self.embed(self.source, source), src_key_padding_mask=padding)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(target.shape[1], dtype=torch.float64)
        x = self.decoder(
            self.embed(self.target, target),
            memory,
            tgt_mask=causal,
            memory_key_padding_mask=torch.zeros(padding.shape, dtype=torch.float64).masked_fill(padding, -torch.inf),
        )
        return x @ self.target.weight.T + self.out_bias if hasattr(self, "out_bias") else self.out(x)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # a form of PyTorch's that is not used here
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_outputs_and_gradients_are_pytorchs(norm_first, tied):
    torch.manual_seed(0)
    theirs = Theirs(norm_first, tied).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    model = models.transformer(dataclasses.replace(CONFIG, norm_first=norm_first, tied=tied))
    direction = np.random.default_rng(1).normal(size=(3, 4, 13))
    logits = theirs(torch.tensor(SOURCE).long(), torch.tensor(TARGET).long())
    (logits * torch.tensor(direction)).sum().backward()
    with float64():
        params, state = weights.from_torch(theirs.state_dict(), model)

        def scalar(params):
            ours, _ = model.apply(params, state, models.SourceTarget(SOURCE, TARGET), train=True)
            return jnp.vdot(ours, direction), ours

        gradient, ours = jax.jit(jax.grad(scalar, has_aux=True))(params)
        # Sines are rounded to float32 here.
        np.testing.assert_allclose(ours, logits.detach(), rtol=0, atol=1e-6 * float(logits.detach().abs().max()))
        actual = weights.to_torch(gradient, {}, model)
    for name, parameter in theirs.named_parameters():
        scale = max(1e-3, float(parameter.grad.abs().max()))
        np.testing.assert_allclose(actual[name], parameter.grad, rtol=0, atol=1e-6 * scale, err_msg=name)


def trained_like(config):
    params, _ = models.transformer(config).init(jax.random.key(0))
    return jax.tree.map(lambda p: p + 0.4 * jax.random.normal(jax.random.key(p.size), p.shape, p.dtype), params)


@pytest.mark.parametrize("norm_first", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_token_by_token_the_logits_are_those_of_the_whole_target(norm_first):
    config = dataclasses.replace(CONFIG, norm_first=norm_first, tied=True, shared=True, source_vocabulary=13)
    params, step = trained_like(config), models.transformer_step(config, trained_like(config))
    whole, _ = models.transformer(config).apply(params, {}, models.SourceTarget(SOURCE, TARGET), train=False)
    carry = models.transformer_carry(config, params, jnp.asarray(SOURCE), capacity=4)
    for place in range(4):
        logits, carry = step(carry, jnp.asarray(TARGET[:, place : place + 1]))
        np.testing.assert_allclose(logits, whole[:, place], rtol=1e-4, atol=1e-5)
    carry = models.transformer_carry(config, params, jnp.asarray(SOURCE), capacity=4)
    logits, _ = step(carry, jnp.asarray(TARGET), jnp.array([4, 2, 3]))
    np.testing.assert_allclose(logits, whole[np.arange(3), [3, 1, 2]], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_translation_does_not_depend_on_the_padding_of_its_source():
    params = trained_like(CONFIG)
    step, begin = models.transformer_step(CONFIG, params), jnp.ones((3, 1), jnp.int32)

    def translate(source):
        carry = models.transformer_carry(CONFIG, params, jnp.asarray(source), capacity=9)
        return decode.beam_search(step, carry, begin[: len(source)], 8, beams=3, stop=[2])

    together = translate(SOURCE)
    for row, length in enumerate([4, 2, 5]):
        alone = translate(SOURCE[row : row + 1, :length])
        np.testing.assert_array_equal(together.ids[row], alone.ids[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "heads must divide features, got 3 heads and 8 features"),
        ({"features": 5, "heads": 1}, "features must be even, for sines and cosines, got 5"),
        ({"shared": True}, "with shared=True, both vocabularies are one, got 11 and 13"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_a_sequence_longer_than_the_context_is_an_error():
    model = models.transformer(CONFIG)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    inputs = models.SourceTarget(jnp.zeros((1, 10), jnp.int32), jnp.zeros((1, 2), jnp.int32))
    with pytest.raises(ValueError, match="transformer: 10 tokens are more than the context of 9"):
        jax.eval_shape(lambda p: model.apply(p, state, inputs, train=False), params)
