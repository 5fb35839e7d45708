"""The block against PyTorch's encoder layer with norms first, with a causal mask and with padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, nn
from tests.oracles import assert_close, normal

X = normal(3, 5, 12)
LENGTHS = np.array([5, 2, 4])
GELU = functools.partial(jax.nn.gelu, approximate=False)


def matrix(kernel, inputs):
    """PyTorch's [out, in] of one of our kernels, whose first `inputs` axes are what goes in."""
    return torch.tensor(np.asarray(kernel).reshape((int(np.prod(kernel.shape[:inputs])), -1)).T.copy())


def pytorch_s(params):
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 20, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    heads = [params["attention"][name] for name in ("query", "key", "value")]
    weights = {
        "self_attn.in_proj_weight": torch.cat([matrix(part["kernel"], 1) for part in heads]),
        "self_attn.in_proj_bias": torch.tensor(np.concatenate([np.ravel(part["bias"]) for part in heads])),
        "self_attn.out_proj.weight": matrix(params["attention"]["out"]["kernel"], 2),
        "self_attn.out_proj.bias": torch.tensor(np.asarray(params["attention"]["out"]["bias"])),
    }
    for number in (1, 2):
        linear, norm = params[f"linear{number}"], params[f"norm{number}"]
        weights[f"linear{number}.weight"] = matrix(linear["kernel"], 1)
        weights[f"linear{number}.bias"] = torch.tensor(np.asarray(linear["bias"]))
        weights[f"norm{number}.weight"] = torch.tensor(np.asarray(norm["scale"]))
        weights[f"norm{number}.bias"] = torch.tensor(np.asarray(norm["bias"]))
    theirs.load_state_dict(weights)
    return theirs


@pytest.fixture(scope="module")
def params():
    params, _ = init(nn.transformer_block_spec(12, heads=3, hidden=20), jax.random.key(0))
    leaves, structure = jax.tree.flatten(params)
    noisy = [leaf + 0.1 * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, [leaf.astype(jnp.float32) for leaf in noisy])


@pytest.mark.parametrize("masked", ["causal", "padding"])
def test_result_and_gradient_are_pytorch_s(params, masked):
    real = np.arange(5)[None] < LENGTHS[:, None]
    causal = masked == "causal"
    mask = None if causal else nn.padding_mask(jnp.asarray(LENGTHS), 5)
    x = torch.tensor(np.asarray(X, np.float32), requires_grad=True)
    upper = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
    hidden = {"src_mask": upper} if causal else {"src_key_padding_mask": torch.tensor(~real)}
    expected = pytorch_s(params).train()(x, **hidden)

    def block(x):
        return nn.transformer_block(params, x, causal=causal, mask=mask, activation=GELU, train=True)

    actual, pull_back = jax.vjp(block, jnp.asarray(X, jnp.float32))
    kept = np.ones((3, 5), bool) if causal else real  # what is beyond the end is of no use
    assert_close(actual[kept], expected[torch.tensor(kept)])
    direction = normal(3, 5, 12, seed=9).astype(np.float32) * kept[..., None]
    (expected * torch.tensor(direction)).sum().backward()
    assert_close(pull_back(jnp.asarray(direction))[0], x.grad)
