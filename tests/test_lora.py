"""Low-rank adapters against x W + (alpha / rank) (x A) B, computed apart by PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxnets import init, lora_merge, lora_spec, lora_unmerge, make_model, models, nn, repeat_spec, tree
from jaxnets.training import init_train_state, make_step
from tests.oracles import normal

HALF = {"layers": 2, "heads": 2, "features": 8}


def random_like(params, seed=1):
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype), params)


def test_values_and_gradients_are_those_of_a_branch_beside_the_layer():
    spec = {"fc": nn.linear_spec(6, 5)}
    params, _ = init(spec, jax.random.key(0))
    adapters = random_like(init(lora_spec(spec, "fc", rank=2), jax.random.key(1))[0])
    x, direction = normal(4, 6), normal(4, 5)
    kernel, bias, down, up = (
        torch.tensor(np.asarray(leaf), requires_grad=True)
        for leaf in (params["fc"]["kernel"], params["fc"]["bias"], *adapters["fc"]["kernel"].values())
    )
    expected = torch.tensor(x) @ kernel + bias + 16 / 2 * (torch.tensor(x) @ down) @ up
    (expected * torch.tensor(direction)).sum().backward()

    def run(adapters):
        y = nn.linear(lora_merge(params, adapters, alpha=16)["fc"], x)
        return jnp.vdot(y, direction), y

    gradient, y = jax.grad(run, has_aux=True)(adapters)
    np.testing.assert_allclose(y, expected.detach(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient["fc"]["kernel"]["down"], down.grad, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(gradient["fc"]["kernel"]["up"], up.grad, rtol=1e-4, atol=1e-3)


KERNELS = {
    "conv": (nn.conv_spec(3, 5, (2, 2)), "kernel", 12),
    "conv_transpose": (nn.conv_transpose_spec(3, 5, (2, 2)), "kernel", 20),
    "grouped": (nn.grouped_conv_spec(4, 6, (3,), groups=2), "kernel", 12),
    "query": (nn.attention_spec(6, heads=3)["query"], "kernel", 6),
    "out": (nn.attention_spec(6, heads=3)["out"], "kernel", 6),
    "embedding": (nn.embedding_spec(7, 4), "embedding", 7),
}


@pytest.mark.parametrize("name", KERNELS)
def test_the_difference_is_a_matrix_of_that_rank(name):
    """As NumPy counts the rank of the array as a matrix."""
    spec, leaf, inputs = KERNELS[name]
    params, _ = init(spec, jax.random.key(0))
    adapters = random_like(init(lora_spec(spec, leaf, rank=2), jax.random.key(1))[0])
    difference = lora_merge(params, adapters)[leaf] - params[leaf]
    assert np.linalg.matrix_rank(np.asarray(difference).reshape(inputs, -1), tol=1e-4) == 2


def test_every_repeated_block_has_an_adapter_of_its_own():
    spec = {"blocks": repeat_spec({"fc": nn.linear_spec(4, 4)}, 3)}
    params, _ = init(spec, jax.random.key(0))
    adapters = random_like(init(lora_spec(spec, "*/kernel", rank=1), jax.random.key(1))[0])
    merged = lora_merge(params, adapters)["blocks"]["fc"]["kernel"]
    for i in range(3):
        down, up = (np.asarray(adapters["blocks"]["fc"]["kernel"][part][i]) for part in ("down", "up"))
        np.testing.assert_allclose(merged[i], params["blocks"]["fc"]["kernel"][i] + np.outer(down, up), rtol=1e-5)


def test_both_halves_of_clip_get_adapters_of_their_heads():
    sizes = {f"{half}_{name}": size for half in ("image", "text") for name, size in HALF.items()}
    model = models.clip(models.CLIPConfig((4, 4), 2, vocabulary=7, context=5, end_of_text=6, embedding=4, **sizes))
    params, _ = model.init(jax.random.key(0))
    adapters = random_like(init(lora_spec(model.spec, "*/query", rank=3), jax.random.key(1))[0])
    merged = lora_merge(params, adapters, alpha=6)
    for half in ("image", "text"):
        before, after, adapter = (
            tree["blocks"]["attention"]["query"]["kernel"] for tree in (params[half], merged[half], adapters[half])
        )
        for block in range(2):
            matrix = np.asarray(before[block], np.float64).reshape(8, 8)
            matrix += 6 / 3 * np.asarray(adapter["down"][block]) @ np.asarray(adapter["up"][block])
            np.testing.assert_allclose(after[block], matrix.reshape(8, 2, 4), rtol=1e-4, atol=1e-5)
    ids, images = jnp.array([[1, 2, 6, 0, 0]]), jnp.asarray(normal(1, 4, 4, 3))
    inputs = models.CLIPInputs(images, ids)
    changed = model.apply(merged, {}, inputs, train=False)[0]
    given = model.apply(params, {}, inputs, train=False)[0]
    assert all(jnp.abs(a - b).max() > 1e-3 for a, b in zip(changed[:2], given[:2], strict=True))


def test_adapters_go_through_lists_and_come_out_again():
    model = models.mlp(models.MLPConfig((4, 6, 3)))
    params, _ = model.init(jax.random.key(0))
    adapters = random_like(init(lora_spec(model.spec, "*kernel", rank=2), jax.random.key(1))[0])
    merged = lora_merge(params, adapters, alpha=0.5)
    changed = [p for p in tree.paths(params) if (tree.paths(merged)[p] != tree.paths(params)[p]).any()]
    assert changed == [path for path in tree.paths(params) if path.endswith("kernel")]
    back = lora_unmerge(merged, adapters, alpha=0.5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, params)


def test_half_precision_is_rounded_once():
    params = {"kernel": jnp.asarray(normal(4, 4), jnp.bfloat16)}
    adapters = {"kernel": {"down": jnp.asarray(normal(4, 2)), "up": jnp.asarray(normal(2, 4))}}
    merged = lora_merge(params, adapters)["kernel"]
    exact = params["kernel"].astype(jnp.float32) + adapters["kernel"]["down"] @ adapters["kernel"]["up"]
    assert merged.dtype == jnp.bfloat16
    np.testing.assert_array_equal(merged.astype(jnp.float32), exact.astype(jnp.bfloat16).astype(jnp.float32))


def test_a_step_trains_the_adapters_alone():
    """What a network of full rank learns here is of rank one, so that the adapter can learn it too."""
    spec = {"fc": nn.linear_spec(4, 3, bias=False)}
    base, _ = init(spec, jax.random.key(0))
    x = normal(64, 4)
    target = x @ (np.asarray(base["fc"]["kernel"]) + np.outer(normal(4), normal(3)))

    def apply(params, state, x, *, key=None, train):
        return nn.linear(lora_merge(base, params)["fc"], x), state

    def loss(params, state, batch, *, key, train):
        y, state = model.apply(params, state, batch[0], train=train)
        return jnp.mean(jnp.square(y - batch[1])), (state, {})

    model, optimizer = make_model(lora_spec(spec, "fc", rank=1), apply), optax.sgd(0.02, momentum=0.9)
    train_state = init_train_state(model, optimizer, seed=3)
    step = jax.jit(make_step(loss, optimizer))
    for _ in range(400):
        train_state, _ = step(train_state, (x, target))
    learned = lora_merge(base, train_state.params)["fc"]["kernel"]
    np.testing.assert_allclose(x @ np.asarray(learned), target, atol=1e-2)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda spec: lora_spec(spec, rank=2), "lora_spec: name at least one pattern"),
        (
            lambda spec: lora_spec(spec, "fc2", rank=2),
            "^lora_spec: the pattern 'fc2' matches no parameter; there are fc/bias, fc/kernel",
        ),
        (lambda spec: lora_spec(spec, "*/bias", rank=2), "match only biases and arrays of fewer than two axes"),
        (
            lambda spec: lora_spec(spec, "fc", rank=4),
            "rank 4 is more than the smaller side of 'fc/kernel'.* 4 x 3",
        ),
        (lambda spec: lora_spec(spec, "fc", rank=0), "lora_spec: rank must be an integer of at least 1, got 0"),
        (lambda spec: lora_spec(spec, "fc", rank=1.5), "rank must be an integer of at least 1, got 1.5"),
        (lambda spec: lora_merge({"k": jnp.ones((2, 3))}, {"k": {"down": jnp.ones((2, 1))}}), "and k/up is missing"),
        (
            lambda spec: lora_merge({"fc": {"bias": jnp.ones(3)}}, {"fc": {"kernel": {"down": 1, "up": 1}}}),
            "lora_merge: adapters of fc/kernel belong to no parameter; there are fc/bias",
        ),
        (
            lambda spec: lora_merge({"k": jnp.ones((2, 3))}, {"k": {"down": jnp.ones((2, 1)), "up": jnp.ones((1, 2))}}),
            r"the adapter of 'k' makes \[2, 2\], which is not \[2, 3\]",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(run, message):
    with pytest.raises(ValueError, match=message):
        run({"fc": nn.linear_spec(4, 3)})


@pytest.mark.parametrize("change", [lora_merge, lora_unmerge])
@pytest.mark.parametrize(
    ("down", "up"),
    [((3, 1), (1, 4)), ((2, 1), (1, 6)), ((4, 2), (3, 3)), ((2, 4, 1), (2, 1, 3)), ((4,), (1, 3)), ((12, 1), (1, 1))],
)
def test_adapters_of_another_shape_are_errors_even_if_the_size_fits(change, down, up):
    with pytest.raises(ValueError, match=r"the adapter of 'k' (makes .*, which is not \[4, 3\]|must have down)"):
        change({"k": jnp.zeros((4, 3))}, {"k": {"down": jnp.ones(down), "up": jnp.ones(up)}})
