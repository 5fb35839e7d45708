"""GPT against Hugging Face's GPT-2 with the same random weights, and what makes it causal."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import models, weights
from tests.forms import float64
from tests.torchvision_oracle import import_torchvision

SIZES = {"layers": 3, "heads": 4, "features": 32}
MODEL = models.gpt(models.GPTConfig(vocabulary=71, context=17, **SIZES))
SMALL = models.GPTConfig(vocabulary=5, context=8, **SIZES)
IDS = np.random.default_rng(0).integers(0, 71, (2, 13)).astype(np.int32)


@pytest.fixture(scope="module")
def theirs():
    import_torchvision("torchvision")  # transformers imports it where it is installed
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=71, n_positions=17, n_embd=32, n_layer=3, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    torch.manual_seed(0)
    network = transformers.GPT2LMHeadModel(config).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture
def double_precision():
    with float64():
        yield


@pytest.mark.usefixtures("double_precision")
def test_outputs_and_gradients_are_hugging_face_s(theirs):
    params, state = weights.from_torch(theirs.state_dict(), MODEL)
    direction = np.random.default_rng(1).normal(size=(2, 13, 71))
    theirs.zero_grad()
    logits = theirs.train()(torch.tensor(IDS).long()).logits
    (logits * torch.tensor(direction)).sum().backward()

    def scalar(params):
        ours, _ = MODEL.apply(params, state, IDS, train=True)
        return jnp.vdot(ours, direction), ours

    gradient, ours = jax.jit(jax.grad(scalar, has_aux=True))(params)
    np.testing.assert_allclose(ours, logits.detach(), rtol=0, atol=1e-9 * float(logits.detach().abs().max()))
    actual = weights.to_torch(gradient, {}, MODEL)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1e-6, float(value.abs().max()))
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=1e-8 * scale, err_msg=name)


@pytest.mark.usefixtures("double_precision")
def test_the_weights_come_back_as_they_were(theirs):
    there = theirs.state_dict()
    masks = {f"transformer.h.{i}.attn.{name}": torch.ones(1) for i in range(3) for name in ("bias", "masked_bias")}
    params, state = weights.from_torch(there | masks, MODEL)  # older files hold masks
    back = weights.to_torch(params, state, MODEL)
    assert {*back, "lm_head.weight"} == set(there)
    for name, array in back.items():
        np.testing.assert_array_equal(array, there[name], err_msg=name)


def test_what_comes_later_changes_nothing():
    """The gradient of a logit by the embeddings of later positions is zero, and not by those of earlier ones."""
    model = models.gpt(SMALL)
    params, state = model.init(jax.random.key(0))

    def logit(positions):
        moved = params | {"positions": {"embedding": positions}}
        return model.apply(moved, state, jnp.array([[1, 2, 3, 4, 0, 1, 2, 3]]), train=False)[0][0, 4, 2]

    gradient = jax.grad(logit)(params["positions"]["embedding"])
    assert np.all(np.asarray(gradient)[5:] == 0)
    assert np.all(np.abs(np.asarray(gradient)[:5]).sum(axis=1) > 0)


@pytest.mark.slow
def test_recomputed_blocks_have_the_same_gradients():
    dropout = dataclasses.replace(SMALL, dropout_rate=0.2, attention_dropout_rate=0.2)
    plain, recomputed = (models.gpt(dataclasses.replace(dropout, remat=value)) for value in (False, True))
    params, state = plain.init(jax.random.key(0))
    ids = jnp.array([[1, 2, 3, 4, 0, 1, 2, 3]])

    def gradient(model):
        def scalar(params):
            return jnp.sum(model.apply(params, state, ids, key=jax.random.key(1), train=True)[0] ** 2)

        return jax.jit(jax.grad(scalar))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *map(gradient, (plain, recomputed))
    )


def test_a_sequence_longer_than_the_context_is_an_error():
    model = models.gpt(SMALL)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"gpt: 9 tokens are more than the context of 8; pass ids\[:, -8:\]"):
        jax.eval_shape(lambda p: model.apply(p, state, jnp.zeros((1, 9), jnp.int32), train=False), params)
