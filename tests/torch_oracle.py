"""Comparison with PyTorch, values and gradients in one call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch

from tests.oracles import assert_close, quick_jit

torch.set_num_threads(1)


def to_torch(tree, requires_grad=False):
    """The same tree with every array as a torch tensor."""

    def convert(array):
        tensor = torch.tensor(np.asarray(array))
        return tensor.requires_grad_() if requires_grad and tensor.is_floating_point() else tensor

    return jax.tree.map(convert, tree)


def assert_parity(ours, theirs, *trees, rtol=1e-5, atol=1e-5):
    """Assert that a JAX and a torch function agree in value and in the gradient of every floating input.

    Both take the same trees of arrays (torch: of tensors) and return one array or a tuple of arrays. The gradient is
    that of a fixed random linear function of the results.
    """
    tensors = [to_torch(tree, requires_grad=True) for tree in trees]
    expected = theirs(*tensors)
    expected_leaves = jax.tree.leaves(expected)

    generator = np.random.default_rng(0)
    weights = [generator.normal(size=tuple(e.shape)).astype(e.detach().numpy().dtype) for e in expected_leaves]
    leaves, structure = jax.tree.flatten(trees)
    floating = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)]

    def value(values):
        replaced = list(leaves)
        for i, array in zip(floating, values, strict=True):
            replaced[i] = array
        return ours(*jax.tree.unflatten(structure, replaced))

    def scalar(values, weights):
        return sum(jnp.vdot(jnp.asarray(w), r) for w, r in zip(weights, jax.tree.leaves(value(values)), strict=True))

    # The value is computed by itself too: where there is a derivative rule, the gradient's value comes from the rule.
    # The weights are an argument: XLA's GPU compiler (0.11) fails at some grouped convolutions with a constant.
    both = quick_jit(lambda values, weights: (value(values), jax.grad(scalar)(values, weights)))
    actual, actual_gradients = both([leaves[i] for i in floating], weights)
    assert_close(actual, expected, rtol, atol)
    sum((torch.tensor(w) * e).sum() for w, e in zip(weights, expected_leaves, strict=True)).backward()
    tensor_leaves = jax.tree.leaves(tensors)
    expected_gradients = [
        torch.zeros_like(tensor_leaves[i]) if tensor_leaves[i].grad is None else tensor_leaves[i].grad for i in floating
    ]
    assert_close(actual_gradients, expected_gradients, rtol, atol, what="gradient of floating input")
