"""Embeddings against PyTorch, ids outside the table, and the TPU's gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, nn, torch_defaults
from jaxnets.backend import trace_for
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity

TABLE = {"embedding": normal(7, 4, seed=1)}
IDS = np.array([[0, 3, 3], [6, 1, 0]], np.int32)
both_platforms = pytest.mark.parametrize("platform", ["cpu", "tpu"])


@pytest.fixture
def on(enter):
    """Trace as on the given platform."""
    return lambda platform: enter(trace_for(platform))


@both_platforms
@pytest.mark.parametrize("ids", [IDS, IDS[0], IDS[0, 1], IDS.astype(np.uint8)], ids=["2d", "1d", "0d", "uint8"])
def test_values_and_gradients_equal_torch(on, platform, ids):
    on(platform)
    assert_parity(
        lambda p: nn.embedding(p, ids),
        lambda p: torch.nn.functional.embedding(torch.tensor(ids).long(), p["embedding"]),
        TABLE,
    )


@pytest.mark.parametrize("vocabulary", [7, 64, 65])
def test_tied_logits_on_gpu_equal_torch_in_half_precision(on, vocabulary):
    table, x = jnp.asarray(normal(vocabulary, 4), jnp.bfloat16), jnp.asarray(normal(2, 3, 4, seed=2), jnp.bfloat16)
    weights = jnp.asarray(normal(2, 3, vocabulary, seed=3), jnp.bfloat16)
    wanted_table, wanted_x = (torch.tensor(np.asarray(a, np.float64), requires_grad=True) for a in (table, x))
    (wanted_x @ wanted_table.T * torch.tensor(np.asarray(weights, np.float64))).sum().backward()
    on("gpu")
    logits, back = jax.vjp(lambda table, x: nn.tied_logits({"embedding": table}, x), table, x)
    assert logits.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        np.asarray(logits, np.float64), (wanted_x @ wanted_table.T).detach(), rtol=2e-2, atol=2e-2
    )
    for gradient, wanted in zip(back(weights), (wanted_table.grad, wanted_x.grad), strict=True):
        np.testing.assert_allclose(np.asarray(gradient, np.float64), wanted, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 4), (2, 3, 4)])
def test_logits_of_one_row_and_of_many_equal_torch(shape):
    assert_parity(
        lambda p, x: nn.tied_logits(p, jnp.tanh(x)),
        lambda p, x: torch.tanh(x) @ p["embedding"].T,
        TABLE,
        normal(*shape),
    )


def test_tied_logits_equal_torch():
    assert_parity(
        lambda p, x: nn.tied_logits(p, jnp.tanh(nn.embedding(p, IDS) + x)),
        lambda p, x: (
            torch.tanh(torch.nn.functional.embedding(torch.tensor(IDS).long(), p["embedding"]) + x) @ p["embedding"].T
        ),
        TABLE,
        normal(2, 3, 4),
    )


@both_platforms
def test_an_id_outside_the_table_is_nan_and_no_gradient_goes_to_another_row(on, platform):
    on(platform)
    ids = jnp.array([2, -1, 7, 1000])
    rows = jax.jit(nn.embedding)(TABLE, ids)
    np.testing.assert_array_equal(rows[0], TABLE["embedding"][2])
    assert jnp.all(jnp.isnan(rows[1:]))
    gradient = jax.grad(lambda p: jnp.nansum(nn.embedding(p, ids)))(jax.tree.map(jnp.asarray, TABLE))
    np.testing.assert_array_equal(gradient["embedding"], np.eye(7, dtype=np.float32)[2][:, None] * np.ones((7, 4)))


def test_small_integer_types_reach_only_the_rows_that_they_can_count(on):
    on("tpu")
    table = jnp.arange(300.0)[:, None]
    ids = jnp.array([255, 44], jnp.uint8)
    value, gradient = jax.value_and_grad(lambda t: jnp.sum(nn.embedding({"embedding": t}, ids)))(table)
    assert value == 299
    assert list(np.flatnonzero(gradient)) == [44, 255]


def test_the_tpu_form_has_forward_mode_second_derivatives_and_vmap(on):
    def loss(table, ids):
        return jnp.sum(jnp.sin(nn.embedding({"embedding": table}, ids)) ** 2)

    table, results = jnp.asarray(TABLE["embedding"]), []
    for platform in ("cpu", "tpu"):
        on(platform)
        derivatives = quick_jit(
            lambda table, ids: (
                jax.jvp(lambda t: nn.embedding({"embedding": t}, ids), (table,), (2 * table,))[1],
                jax.hessian(loss)(table, ids),
                jax.vmap(jax.grad(loss), in_axes=(None, 0))(table, ids),
            )
        )
        results.append(derivatives(table, IDS))
    for plain, product in zip(*results, strict=True):
        np.testing.assert_allclose(plain, product, rtol=1e-6, atol=1e-6)


def test_the_tpu_gradient_is_a_product_for_small_tables_only(on):
    on("tpu")

    def gradient(rows):
        spec = jax.ShapeDtypeStruct((rows, 4), jnp.float32)
        return str(jax.make_jaxpr(jax.grad(lambda t: jnp.sum(nn.embedding({"embedding": t}, IDS))))(spec))

    assert "scatter" not in gradient(4096)
    assert "dot_general" in gradient(4096)
    assert "scatter" in gradient(4097)


def test_ids_must_be_integers():
    with pytest.raises(TypeError, match=r"embedding: ids must be integers, got float32; write ids.astype"):
        nn.embedding(TABLE, jnp.ones(3))
    with pytest.raises(TypeError, match=r"embedding: ids must be an array, got int; write jnp.asarray"):
        nn.embedding(TABLE, 3)
    with pytest.raises(ValueError, match="embedding: ids: JAX has integers as int32, got int64 from 4294967297"):
        nn.embedding(TABLE, np.array([2**32 + 1]))  # would be row 1
    with pytest.raises(ValueError, match=r"tied_logits: last axis must be 4 \(kernel \[7, 4\]\), got x \[2, 3\]"):
        nn.tied_logits(TABLE, jnp.ones((2, 3)))


def test_default_starts_logits_of_unit_variance_and_torch_default_rows_of_unit_variance():
    spec = nn.embedding_spec(1000, 64)
    params, _ = init(spec, jax.random.key(0))
    np.testing.assert_allclose(np.std(nn.tied_logits(params, normal(500, 64))), 1, rtol=0.02)
    params, _ = init(torch_defaults(spec), jax.random.key(0))
    theirs = torch.nn.Embedding(1000, 64).weight.detach().numpy()
    np.testing.assert_allclose(np.std(params["embedding"]), np.std(theirs), rtol=0.02)


@both_platforms
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_gradient_of_a_row_that_is_used_often_is_summed_in_float32(on, platform, dtype):
    on(platform)
    uses = np.zeros(4096, np.int32)
    gradient = jax.grad(lambda table: jnp.sum(nn.embedding({"embedding": table}, uses).astype(jnp.float32)))
    np.testing.assert_array_equal(gradient(jnp.zeros((4, 2), dtype))[:2], [[4096, 4096], [0, 0]])
