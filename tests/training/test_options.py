"""The options of a training step, against PyTorch and against the plain step."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, nn
from jaxnets.path_mask import path_mask
from jaxnets.training import (
    TrainState,
    compile_step,
    compute_in,
    freeze,
    init_train_state,
    make_evaluate,
    make_step,
    supervised,
    use_ema,
    with_ema,
)
from tests.oracles import permissive_optimizer
from tests.training.problem import LOSS, MODEL, data

torch = pytest.importorskip("torch")

SPEC = {"fc1": nn.linear_spec(4, 8), "fc2": nn.linear_spec(8, 3)}


def apply(params, state, x, *, key=None, train):
    return nn.linear(params["fc2"], jnp.tanh(nn.linear(params["fc1"], x))), state


MLP = make_model(SPEC, apply)
MLP_LOSS = supervised(MLP, losses.cross_entropy)
BATCHES = [data(16, seed=seed) for seed in range(6)]


def torch_net(params):
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    for layer, name in ((net[0], "fc1"), (net[2], "fc2")):
        layer.weight.data = torch.tensor(np.asarray(params[name]["kernel"]).T.copy())
        layer.bias.data = torch.tensor(np.asarray(params[name]["bias"]))
    return net


def torch_loss(net, batch):
    x, labels = (torch.tensor(np.asarray(part)) for part in batch)
    return torch.nn.functional.cross_entropy(net(x), labels.long())


def assert_like(params, net):
    for name, layer in (("fc1", net[0]), ("fc2", net[2])):
        np.testing.assert_allclose(params[name]["kernel"], layer.weight.detach().numpy().T, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(params[name]["bias"], layer.bias.detach().numpy(), rtol=1e-4, atol=1e-5)


def train(optimizer, batches=BATCHES, **options):
    train_state = init_train_state(MLP, optimizer, seed=0)
    step = compile_step(make_step(MLP_LOSS, optimizer, **options))
    for batch in batches:
        train_state, _ = step(train_state, batch)
    return train_state


def initial_net():
    return torch_net(init_train_state(MLP, optax.sgd(0.1), seed=0).params)


def test_clipping_by_the_global_norm_is_pytorchs():
    train_state = train(optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0)))
    net = initial_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for batch in BATCHES:
        optimizer.zero_grad()
        torch_loss(net, batch).backward()
        assert torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1) > 0.1
        optimizer.step()
    assert_like(train_state.params, net)


def test_warm_up_and_cosine_are_pytorchs():
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.5, 2, 6)
    train_state = train(permissive_optimizer(optax.sgd(schedule, momentum=0.9)))
    net = initial_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    factors = [0.0, 0.5, *((1 + np.cos(np.arange(6) / 4 * np.pi)) / 2)]
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, factors.__getitem__)
    for batch in BATCHES:
        optimizer.zero_grad()
        torch_loss(net, batch).backward()
        optimizer.step()
        warm.step()
    assert_like(train_state.params, net)


@pytest.mark.parametrize("parts", [2, 4, 16])
def test_accumulation_gives_the_gradient_of_the_whole_batch(parts):
    train_state = train(optax.sgd(0.5), accumulate=parts)
    net = initial_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for batch in BATCHES:
        optimizer.zero_grad()
        torch_loss(net, batch).backward()
        optimizer.step()
    assert_like(train_state.params, net)


def test_accumulation_sums_metrics_and_threads_state():
    optimizer = optax.sgd(0.0)
    train_state = init_train_state(MODEL, optimizer, seed=0)
    x, labels = data(16)
    after, metrics = make_step(LOSS, optimizer, accumulate=2)(train_state, (x, labels))
    state = train_state.state
    for part in (x[:8], x[8:]):
        _, state = MODEL.apply(train_state.params, state, part, key=jax.random.key(0), train=True)
    chex.assert_trees_all_close(after.state, state, rtol=1e-5, atol=1e-6)
    assert float(metrics["accuracy"].weight.value()) == 16


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="a batch of 16 examples cannot be cut into accumulate=3 equal parts"):
        train(optax.sgd(0.1), accumulate=3)
    with pytest.raises(ValueError, match="accumulate must be an integer of at least 1, got 0"):
        make_step(LOSS, optax.sgd(0.1), accumulate=0)


@pytest.mark.parametrize("warmup", [False, True])
def test_the_moving_average_is_pytorchs(warmup):
    train_state = train(with_ema(permissive_optimizer(optax.adam(0.05)), 0.8, warmup=warmup))
    net = initial_net()
    counts = iter(range(100))

    def average(old, new, _):
        n = next(counts) // 4  # four parameters
        decay = min(0.8, (1 + n) / (10 + n)) if warmup else 0.8
        return decay * old + (1 - decay) * new

    averaged = torch.optim.swa_utils.AveragedModel(net, avg_fn=average)
    averaged.n_averaged += 1  # else the first update copies
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for batch in BATCHES:
        optimizer.zero_grad()
        torch_loss(net, batch).backward()
        optimizer.step()
        averaged.update_parameters(net)
    assert_like(train_state.params, net)
    assert_like(use_ema(train_state).params, averaged.module)


def test_the_moving_average_is_found_inside_other_optimizers():
    inside = optax.chain(optax.clip_by_global_norm(1.0), with_ema(optax.sgd(0.1), 0.9))
    train_state = train(inside)
    evaluate = jax.jit(make_evaluate(MLP_LOSS))
    measured = [evaluate(state, BATCHES[0])["loss"].compute() for state in (train_state, use_ema(train_state))]
    with torch.no_grad():
        nets = [torch_net(tree) for tree in (train_state.params, use_ema(train_state).params)]
        expected = [torch_loss(net, BATCHES[0]).item() for net in nets]
    np.testing.assert_allclose(measured, expected, rtol=1e-4)
    assert abs(expected[0] - expected[1]) > 1e-3
    inside = freeze(with_ema(optax.sgd(0.1), 0.9), "fc1")
    with pytest.raises(ValueError, match="the average is of some parameters only; put with_ema outermost"):
        use_ema(train(inside))
    with pytest.raises(ValueError, match="expected one with_ema in the optimizer, found 0"):
        use_ema(train(optax.sgd(0.1)))
    with pytest.raises(ValueError, match=r"decay must be from 0 to 1, got 1\.5"):
        with_ema(optax.sgd(0.1), 1.5)


def test_frozen_parameters_keep_their_bits_and_the_rest_trains_as_in_pytorch():
    clipped = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0, momentum=0.9))
    train_state = train(freeze(clipped, "fc1"))
    net = initial_net()
    net[0].requires_grad_(False)
    optimizer = torch.optim.SGD(net[2].parameters(), lr=1.0, momentum=0.9)
    for batch in BATCHES:
        optimizer.zero_grad()
        torch_loss(net, batch).backward()
        torch.nn.utils.clip_grad_norm_(net[2].parameters(), 0.1)
        optimizer.step()
    assert_like(train_state.params, net)
    chex.assert_trees_all_equal(train_state.params["fc1"], init_train_state(MLP, optax.sgd(1.0), seed=0).params["fc1"])
    memory = sum(leaf.size for leaf in jax.tree.leaves(train_state.opt_state))
    assert memory == 8 * 3 + 3


def test_no_gradient_is_computed_that_nothing_needs():
    optimizer = freeze(optax.sgd(1.0), "fc1")
    train_state = init_train_state(MLP, optimizer, seed=0)
    flops = [
        jax.jit(make_step(MLP_LOSS, rule)).lower(state, BATCHES[0]).compile().cost_analysis()["flops"]
        for rule, state in ((optimizer, train_state), (optax.sgd(1.0), init_train_state(MLP, optax.sgd(1.0), seed=0)))
    ]
    assert flops[0] < flops[1]


def test_patterns_of_paths():
    params = init_train_state(MLP, optax.sgd(0.1), seed=0).params
    assert path_mask(params, "*/bias")["fc1"] == {"bias": True, "kernel": False}
    assert path_mask(params, "fc[12]/kernel", "fc2") == {
        "fc1": {"bias": False, "kernel": True},
        "fc2": {"bias": True, "kernel": True},
    }
    assert path_mask(params, "fc1")["fc1"] == {"bias": True, "kernel": True}
    with pytest.raises(ValueError, match="pattern 'conv' matches no parameter; there are fc1/bias, fc1/kernel, fc2"):
        freeze(optax.sgd(0.1), "fc1", "conv").init(params)
    with pytest.raises(ValueError, match="name at least one pattern"):
        freeze(optax.sgd(0.1))


def test_bfloat16_computes_what_pytorchs_autocast_does():
    model = compute_in(jnp.bfloat16, MLP)
    optimizer = optax.sgd(0.5)
    train_state = init_train_state(model, optimizer, seed=0)
    step = compile_step(make_step(supervised(model, losses.cross_entropy), optimizer))
    net = initial_net()
    torch_optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for batch in BATCHES:
        train_state, metrics = step(train_state, batch)
        torch_optimizer.zero_grad()
        x, labels = (torch.tensor(np.asarray(part)) for part in batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels.long())
        loss.backward()
        torch_optimizer.step()
        assert float(metrics["loss"].compute()) == pytest.approx(loss.item(), rel=0.02)
    assert {leaf.dtype for leaf in jax.tree.leaves(train_state.params)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(
        train_state.params["fc2"]["kernel"], net[2].weight.detach().numpy().T, rtol=0.1, atol=0.02
    )
    exact = train(optax.sgd(0.5)).params["fc2"]["kernel"]
    assert 1e-5 < float(jnp.max(jnp.abs(train_state.params["fc2"]["kernel"] - exact))) < 0.02


def test_bfloat16_leaves_integers_and_running_statistics_alone():
    seen = {}

    def apply(params, state, x, *, key=None, train):
        seen.update(ids=x["ids"].dtype, x=x["x"].dtype, kernel=params["kernel"].dtype, state=state["mean"].dtype)
        return x["x"], state

    model = compute_in(jnp.bfloat16, make_model(nn.linear_spec(2, 2), apply))
    model.apply({"kernel": jnp.ones(1)}, {"mean": jnp.ones(1)}, {"ids": jnp.arange(2), "x": jnp.ones(2)}, train=True)
    assert seen == {"ids": jnp.int32, "x": jnp.bfloat16, "kernel": jnp.bfloat16, "state": jnp.float32}
    with pytest.raises(TypeError, match=r"dtype must be floating point, such as jnp.bfloat16, got int8"):
        compute_in(jnp.int8, MLP)


def loss_that_can_fail(params, state, batch, *, key, train):
    # The loss is finite where the second factor is 0, its gradient there is not.
    value = jnp.sum(params["fine"] ** 2) + jnp.sum(jnp.sqrt(params["root"] * batch))
    return value, ({"seen": state["seen"] + batch}, {"loss": value})


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_bad_step_changes_nothing_and_is_counted(bad):
    optimizer = optax.sgd(0.1, momentum=0.9)
    params = {"fine": jnp.ones(2), "root": jnp.ones(1)}
    create = lambda: TrainState.create(params, optimizer.init(params), state={"seen": jnp.zeros(1)}, seed=3)  # noqa: E731
    step = jax.jit(make_step(loss_that_can_fail, optimizer, skip_nonfinite=1))
    good, wrong = jnp.ones(1), jnp.full(1, bad)
    once, _ = step(create(), good)
    skipped, metrics = step(once, wrong)
    chex.assert_trees_all_equal(skipped._replace(step=once.step, skipped=once.skipped), once)
    assert [int(skipped.step), int(skipped.skipped), int(skipped.seed)] == [2, 1, 3]
    assert float(metrics["loss"].weight.value()) == 0
    expected, _ = jax.jit(make_step(loss_that_can_fail, optimizer))(once, good)
    chex.assert_trees_all_equal(step(skipped, good)[0].params, expected.params)
    beyond, _ = step(skipped, wrong)
    assert not np.isfinite(beyond.params["root"]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_average_of_half_precision_moves(dtype):
    """A parameter jumps from 0 to 1 and stays: after n updates the average is 1 - 0.999^n."""
    optimizer = with_ema(permissive_optimizer(optax.sgd(1.0)), 0.999, warmup=False)

    def step(carry, gradient):
        params, state = carry
        updates, state = optimizer.update(gradient[None], state, params)
        return (optax.apply_updates(params, updates), state), None

    params, gradients = jnp.zeros(1, dtype), jnp.zeros(5000, dtype).at[0].set(-1)
    (params, state), _ = jax.lax.scan(step, (params, optimizer.init(params)), gradients)
    np.testing.assert_allclose(state.average, 1 - 0.999**5000, rtol=1e-4)
    averaged = use_ema(TrainState.create(params, state, seed=0)).params
    assert averaged.dtype == dtype
    np.testing.assert_array_equal(averaged, state.average.astype(dtype))
