"""Rules from logical axes to meshes, what they refuse, and what each device then holds."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, models, nn
from jaxnets.backend import trace_for
from jaxnets.kernels.attention import Split
from jaxnets.sharding import FSDP, FSDP_TENSOR, TENSOR, make_mesh, partitions, place, sharding_table
from jaxnets.training import init_train_state, supervised
from jaxnets.training.placed import placed_loss
from jaxnets.training.shardings import train_state_shardings
from jaxnets.tree import paths, tree_bytes
from tests.forms import needs_devices
from tests.oracles import assert_close, normal

pytestmark = needs_devices(8)

MODEL = models.gpt(models.GPTConfig(vocabulary=48, context=16, layers=3, heads=4, features=32))
OPTIMIZER = optax.adamw(1e-3)


def mixed_mesh():
    return make_mesh({"data": 2, "model": 4})


def test_tensor_rules_divide_what_megatron_divides():
    found = partitions(MODEL.spec, mixed_mesh(), TENSOR)
    assert tuple(found["blocks/linear1/kernel"]) == (None, None, "model")  # by columns
    assert tuple(found["blocks/linear1/bias"]) == (None, "model")
    assert tuple(found["blocks/linear2/kernel"]) == (None, "model", None)  # by rows
    assert tuple(found["blocks/linear2/bias"]) == (None, None)
    assert tuple(found["blocks/attention/query/kernel"]) == (None, None, "model", None)
    assert tuple(found["blocks/attention/out/kernel"]) == (None, "model", None, None)
    assert tuple(found["tokens/embedding"]) == ("model", None)
    assert tuple(found["positions/embedding"]) == (None, None)  # no vocabulary


def test_rules_apply_in_their_order_and_use_an_axis_of_the_mesh_once():
    found = partitions(
        MODEL.spec, mixed_mesh(), {"tokens/*:vocabulary": None, "blocks/*:features": "model", **FSDP_TENSOR}
    )
    assert tuple(found["tokens/embedding"]) == (None, "data")
    assert tuple(found["blocks/linear1/kernel"]) == (None, "model", None)
    both = partitions(MODEL.spec, mixed_mesh(), {"features": ("data", "model")})
    assert tuple(both["blocks/linear1/kernel"]) == (None, ("data", "model"), None)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"heads": "modle"}, r"the rule 'heads': 'modle' names the mesh axis 'modle', but .* \['data', 'model'\]"),
        ({"embed": "model"}, r"the rule 'embed' matches no array; .* blocks/linear1/kernel: layers, features, hidden"),
        ({"block/*:hidden": "model"}, r"the rule 'block/\*:hidden' matches no array"),
        (
            {"layers": "model"},
            r"'blocks/.*' \[3, .*\]: the axis 'layers' of 3 cannot be divided into 4 equal parts, "
            r"as the rule 'layers': 'model' says; .*'blocks/.*:layers': None",
        ),
        ({"hidden": ("data", "data")}, r"the rule 'hidden': .* names an axis of the mesh twice"),
    ],
)
def test_rules_that_do_not_fit_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        place(MODEL, mixed_mesh(), rules)


def test_fsdp_leaves_whole_what_does_not_divide():
    found = partitions(nn.conv_spec(3, 10, (3, 3)), make_mesh({"data": 8}), FSDP)
    assert all(axes is None for partition in found.values() for axes in partition)


def test_meshes_and_models_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="data=2 \\* model=2 are 4 devices, but there are 8"):
        make_mesh({"data": 2, "model": 2})
    with pytest.raises(ValueError, match=r"batch_axes has \['rows'\]"):
        place(MODEL, mixed_mesh(), batch_axes="rows")
    with pytest.raises(ValueError, match="the model has no spec"):
        place(MODEL._replace(spec=None), mixed_mesh())
    with pytest.raises(ValueError, match="batch_axes names an axis of the mesh twice"):
        place(MODEL, mixed_mesh(), batch_axes=("data", "data"))
    for size in (-8, 8.0, "8"):
        with pytest.raises(ValueError, match=f"the size of 'data' must be an integer of at least 1, got {size!r}"):
            make_mesh({"data": size})


@pytest.mark.parametrize("rules", [None, [("hidden", "data")], {"hidden": 3}, {"hidden": True}, {3: "data"}])
def test_what_are_no_rules_is_refused(rules):
    with pytest.raises(TypeError, match=r"^rules must be a dict|^the rule .* must be text and the name of an axis"):
        place(MODEL, mixed_mesh(), rules)


def test_what_is_no_mesh_is_refused():
    with pytest.raises(TypeError, match=r"place: mesh must be a mesh, got .*; write make_mesh"):
        place(MODEL, {"data": 8})
    with pytest.raises(TypeError, match="make_mesh: sizes must be a dict"):
        make_mesh([("data", 8)])
    with pytest.raises(TypeError, match=r"sharding_table: 'a' is .* which lies on no device"):
        sharding_table({"a": np.zeros(3)})


def test_a_train_state_is_initialized_in_shards_with_the_numbers_of_one_device():
    placement = place(MODEL, mixed_mesh(), FSDP_TENSOR)
    train_state = init_train_state(MODEL, OPTIMIZER, 3, placement=placement)
    expected = init_train_state(MODEL, OPTIMIZER, 3)
    chex.assert_trees_all_close(jax.device_get(train_state), jax.device_get(expected), rtol=1e-6, atol=1e-7)
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(train_state))
    assert held < 0.15 * tree_bytes(expected)  # of 8 devices; small arrays are divided by 2 or 4
    moments = train_state.opt_state[0].mu["blocks"]["linear1"]["kernel"].sharding
    assert moments == train_state.params["blocks"]["linear1"]["kernel"].sharding


def test_no_device_holds_the_whole_model_while_it_is_initialized():
    placement = place(MODEL, make_mesh({"data": 8}), FSDP)
    make = jax.jit(functools.partial(init_train_state, MODEL, OPTIMIZER, placement=placement))
    memory = make.lower(jnp.uint32(0)).compile().memory_analysis()
    whole = tree_bytes(jax.eval_shape(lambda: init_train_state(MODEL, OPTIMIZER, 0)))
    assert memory.output_size_in_bytes < 0.15 * whole
    assert memory.temp_size_in_bytes < 0.15 * whole


def test_parameters_that_are_given_go_to_their_places():
    placement = place(MODEL, make_mesh({"data": 8}), FSDP)
    table = np.arange(48 * 32, dtype=np.float32).reshape(48, 32)
    given = {"tokens": {"embedding": table}}
    train_state = init_train_state(MODEL, OPTIMIZER, 0, params=given, placement=placement)
    placed = train_state.params["tokens"]["embedding"]
    np.testing.assert_array_equal(placed, table)
    assert placed.addressable_shards[0].data.shape == (48, 4)


def test_a_large_array_of_the_optimizer_that_stays_whole_is_named():
    placement = place(MODEL, make_mesh({"data": 8}), FSDP)
    shapes = jax.eval_shape(lambda: init_train_state(MODEL, optax.flatten(OPTIMIZER), 0))
    with pytest.warns(UserWarning, match=r"of the optimizer are whole on every device: .*mu \[\d+\].*optax.flatten"):
        train_state_shardings(shapes, placement)


def test_the_table_says_what_each_device_holds():
    placement = place(MODEL, mixed_mesh(), FSDP_TENSOR)
    params = init_train_state(MODEL, OPTIMIZER, 0, placement=placement).params
    lines = {line.split()[0]: line.split() for line in sharding_table(params).splitlines()[1:]}
    assert set(lines) == {*paths(params), "-"}
    assert lines["blocks/linear1/kernel"][-3:] == ["data,", "model", f"{3 * 32 * 128 * 4 // 8:,}"]
    held = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(params))
    assert " ".join(lines["-"][1:]) == f"8 devices {held:,} of {tree_bytes(params):,}"


def attention_arrays():
    return [jnp.asarray(normal(2, 128, 4, 8, seed=seed)) for seed in range(3)]


def test_a_kernel_on_each_device_is_attention_of_all():
    split = Split(mixed_mesh(), ("data",), ("model",))

    def gradients(**settings):
        def total(*arrays):
            return jnp.sum(jnp.sin(nn.dot_product_attention(*arrays, causal=True, **settings)))

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(*attention_arrays())

    actual = gradients(implementation="splash", split=split)
    assert_close(actual, gradients(implementation="einsum"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 128, 128), (1, 4, 128, 128), (2, 4, 1, 128)])
def test_a_mask_is_divided_as_batch_and_heads_are(shape):
    mask = jnp.asarray(np.random.default_rng(0).random(shape) < 0.7)

    def attend(queries, keys, values, mask):
        return nn.dot_product_attention(queries, keys, values, mask=mask, implementation="einsum")

    actual = jax.jit(functools.partial(Split(mixed_mesh(), ("data",), ("model",)).run, attend))(
        *attention_arrays(), mask
    )
    assert_close(actual, jax.jit(attend)(*attention_arrays(), mask), rtol=1e-5, atol=1e-6)


GPT = models.gpt(models.GPTConfig(vocabulary=8, context=2, layers=4, heads=2, features=64))
MLP = models.mlp(models.MLPConfig((128, 128, 128, 128, 8)))
IDS, IMAGES = jnp.zeros((8, 1), jnp.int32), jnp.zeros((8, 128))


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(("model", "batch"), [(GPT, (IDS, IDS)), (MLP, (IMAGES, IDS[:, 0]))], ids=["gpt", "mlp"])
def test_gathered_parameters_are_not_kept_for_the_gradient(model, batch, platform):
    placement = place(model, make_mesh({"data": 8}), FSDP)
    loss = placed_loss(supervised(model, losses.cross_entropy), placement)
    params = init_train_state(model, OPTIMIZER, 0, placement=placement).params

    @jax.jit
    def kept(params):
        return jax.vjp(lambda params: loss(params, {}, batch, key=None, train=True)[0], params)[1]

    with trace_for(platform):
        stored = kept(params)
    on_one_device = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(stored))
    assert on_one_device < 0.5 * tree_bytes(params)
