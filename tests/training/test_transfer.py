"""Pretrained networks with a new head: what stays, what trains, and in which mode, against PyTorch."""

import functools

import jax
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, nn, repeat, repeat_spec, subkey, tree
from jaxnets.training import (
    compile_step,
    freeze_except,
    in_evaluation,
    init_train_state,
    make_step,
    supervised,
    update_statistics,
)
from tests.oracles import normal

SPEC = {"body": {"fc": nn.linear_spec(4, 5), "norm": nn.batch_norm_spec(5)}, "head": nn.linear_spec(5, 3)}


def apply(params, state, x, *, key=None, train):
    x = nn.linear(params["body"]["fc"], x)
    x, norm = nn.batch_norm(params["body"]["norm"], state["body"]["norm"], x, train=train)
    return nn.linear(params["head"], jax.nn.relu(x)), {"body": {"norm": norm}}


MODEL = make_model(SPEC, apply)
X, LABELS = normal(16, 4), np.arange(16) % 3
STATISTICS = {"body": {"norm": {"mean": normal(5), "variance": normal(5) ** 2 + 0.5, "count": np.array(100, np.int32)}}}


def in_torch(params):
    torch = pytest.importorskip("torch")
    body = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5))
    head = torch.nn.Linear(5, 3)
    for layer, ours in ((body[0], params["body"]["fc"]), (head, params["head"])):
        layer.weight.data = torch.tensor(np.asarray(ours["kernel"]).T)
        layer.bias.data = torch.tensor(np.asarray(ours["bias"]))
    body[1].running_mean.data = torch.tensor(STATISTICS["body"]["norm"]["mean"])
    body[1].running_var.data = torch.tensor(STATISTICS["body"]["norm"]["variance"])
    return body, head


def test_a_part_in_evaluation_beside_one_that_trains_is_pytorch_s():
    torch = pytest.importorskip("torch")
    optimizer = optax.sgd(0.1)
    start = init_train_state(MODEL, optimizer, 0, state=STATISTICS)
    body, head = in_torch(start.params)
    body.eval()
    theirs = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
    step = make_step(supervised(in_evaluation(MODEL, "body"), losses.cross_entropy), optimizer)
    train_state = start
    for _ in range(3):
        train_state, _ = jax.jit(step)(train_state, (X, LABELS))
        theirs.zero_grad()
        logits = head(torch.relu(body(torch.tensor(X))))
        torch.nn.functional.cross_entropy(logits, torch.tensor(LABELS)).backward()
        theirs.step()
    params = train_state.params
    np.testing.assert_allclose(params["body"]["fc"]["kernel"].T, body[0].weight.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(params["body"]["norm"]["scale"], body[1].weight.detach(), rtol=1e-4)
    np.testing.assert_allclose(params["head"]["kernel"].T, head.weight.detach(), rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, train_state.state, STATISTICS)


@pytest.mark.filterwarnings("error")
def test_parts_inside_of_layers_scans_and_lists_are_in_evaluation():
    """Dropout within a layer of the part drops nothing, the other part drops; nobody is warned of old statistics."""
    block = nn.transformer_block_spec(8, heads=2)
    spec = {"body": repeat_spec(block, 2), "parts": [nn.batch_norm_spec(8), nn.batch_norm_spec(8)], "top": block}

    def run(params, state, x, *, key=None, train):
        settings = {"dropout_rate": 0.5, "train": train}
        x = repeat(functools.partial(nn.transformer_block, **settings), params["body"], x, key=subkey(key, "body"))
        first, second = params["parts"], state["parts"]
        norms = []
        for part, statistics in zip(first, second, strict=True):
            x, statistics = nn.batch_norm(part, statistics, x, train=train)
            norms.append(statistics)
        x = nn.transformer_block(params["top"], x, key=subkey(key, "top"), **settings)
        return x, {"parts": norms}

    model = make_model(spec, run)
    params, state = model.init(jax.random.key(0))
    x = normal(2, 3, 8)
    expected, _ = model.apply(params, state, x, train=False)
    for parts in ("parts/*", "parts"):
        evaluated = in_evaluation(model, "body", parts, "top")
        whole, after = evaluated.apply(params, state, x, key=jax.random.key(1), train=True)
        np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
        jax.tree.map(np.testing.assert_array_equal, after, state)

    partly, after = in_evaluation(model, "body", "parts/0").apply(params, state, x, key=jax.random.key(1), train=True)
    assert not np.allclose(partly, expected, atol=1e-2)
    np.testing.assert_array_equal(after["parts"][0]["count"], 0)
    np.testing.assert_array_equal(after["parts"][1]["count"], 1)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [((), "name at least one pattern"), (("bdy",), "'bdy' matches no layer; there are body, body/fc, body/norm, head")],
)
def test_patterns_of_no_layer_are_errors(patterns, message):
    with pytest.raises(ValueError, match=message):
        in_evaluation(MODEL, *patterns)


@pytest.mark.filterwarnings("error")
def test_one_part_after_the_other_is_both_at_once():
    spec = {name: nn.batch_norm_spec(4) for name in ("a", "b", "c")}

    def run(params, state, x, *, key=None, train):
        new = {}
        for name in spec:
            x, new[name] = nn.batch_norm(params[name], state[name], x, train=train)
        return x, new

    model = make_model(spec, run)
    params, state = model.init(jax.random.key(0))
    nested = in_evaluation(in_evaluation(model, "a"), "b")
    _, after = nested.apply(params, state, X, train=True)
    assert {name: int(part["count"]) for name, part in after.items()} == {"a": 0, "b": 0, "c": 1}


def test_a_new_head_on_given_parameters_which_stay_readable():
    optimizer = freeze_except(optax.sgd(0.5), "head")
    pretrained, _ = MODEL.init(jax.random.key(5))
    before = jax.tree.map(np.array, pretrained)
    start = init_train_state(MODEL, optimizer, 0, params={"body": pretrained["body"]}, state=STATISTICS)
    np.testing.assert_array_equal(start.params["body"]["fc"]["kernel"], before["body"]["fc"]["kernel"])
    fresh = init_train_state(MODEL, optimizer, 0).params
    np.testing.assert_array_equal(start.params["head"]["kernel"], fresh["head"]["kernel"])

    head = np.array(start.params["head"]["kernel"])
    step = compile_step(make_step(supervised(in_evaluation(MODEL, "body"), losses.cross_entropy), optimizer))
    after, _ = step(start, (X, LABELS))  # gives the arrays of `start` away
    jax.tree.map(np.testing.assert_array_equal, pretrained, before)
    jax.tree.map(np.testing.assert_array_equal, after.params["body"], before["body"])
    assert (np.asarray(after.params["head"]["kernel"]) != head).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"params": {"fc": {"kernel": np.ones((4, 5))}}}, "the model has no params fc/kernel; it has body/fc/bias, "),
        (
            {"params": {"head": {"kernel": np.ones((5, 9))}}},
            r"'head/kernel' must be \[5, 3\], got \[5, 9\]; leave",
        ),
        ({"state": {"norm": {"mean": np.ones(5)}}}, "the model has no state norm/mean"),
    ],
)
def test_given_arrays_that_do_not_fit_are_errors(given, message):
    with pytest.raises(ValueError, match=message):
        init_train_state(MODEL, optax.sgd(0.1), 0, **given)


def test_statistics_measured_again_are_pytorch_s():
    torch = pytest.importorskip("torch")
    start = init_train_state(MODEL, optax.sgd(0.1), 0, state=STATISTICS)
    body, head = in_torch(start.params)
    network = torch.nn.Sequential(body, torch.nn.ReLU(), head)
    batches = [torch.tensor(X[i : i + 5]) for i in (0, 5, 10)]  # the last example is left out
    torch.optim.swa_utils.update_bn(batches, network)
    measured = update_statistics(MODEL, start, X, batch_size=5).state["body"]["norm"]
    np.testing.assert_allclose(measured["mean"], body[1].running_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(measured["variance"], body[1].running_var, rtol=1e-5)
    assert int(measured["count"]) == 3


def test_other_state_and_all_parameters_stay():
    spec = {"fc": nn.spectral_norm_spec(nn.linear_spec(4, 5)), "norm": nn.batch_norm_spec(5)}

    def run(params, state, x, *, key=None, train):
        layer, fc = nn.spectral_norm(params["fc"], state["fc"], train=train)
        x, norm = nn.batch_norm(params["norm"], state["norm"], nn.linear(layer, x), train=train)
        return x, {"fc": fc, "norm": norm}

    start = init_train_state(make_model(spec, run), optax.sgd(0.1), 0)
    after = update_statistics(make_model(spec, run), start, X, batch_size=8)
    changed = [p for p, leaf in tree.paths(start).items() if (np.asarray(tree.paths(after)[p]) != leaf).any()]
    assert changed == ["state/norm/count", "state/norm/mean", "state/norm/variance"]


@pytest.mark.parametrize(
    ("model", "batch_size", "message"),
    [
        (MODEL, 17, "16 examples do not make a batch of 17"),
        (make_model(nn.linear_spec(4, 2), lambda p, s, x, key=None, train=False: (x, s)), 4, "has no batch norm"),
    ],
)
def test_no_statistics_to_measure_is_an_error(model, batch_size, message):
    with pytest.raises(ValueError, match=message):
        update_statistics(model, init_train_state(model, optax.sgd(0.1), 0), X, batch_size=batch_size)
