"""What a model says when its apply function does not keep the contract."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, make_model, nn, repeat_spec
from tests.oracles import normal

KEY = jax.random.key(0)
X = normal(6, 4)


def run(apply, spec=None, train=True):
    """The result of a model for `X`, eager and compiled alike."""
    model = make_model({"fc1": nn.linear_spec(4, 4), "bn": nn.batch_norm_spec(4)} if spec is None else spec, apply)
    params, state = model.init(KEY)
    return jax.jit(lambda p, s: model.apply(p, s, X, train=train))(params, state)


@pytest.mark.parametrize(
    ("outputs", "got"),
    [
        (lambda x: x, "float32[6, 4]"),
        (lambda x: x[:2], "float32[2, 4]"),  # unpacks into two rows
        (lambda x: {"logits": x}, "a dict of ['logits']"),
        (lambda x: (x, {}, 0), "a tuple of 3"),
        (lambda x: None, "None"),
    ],
)
def test_outputs_without_state_are_refused(outputs, got):
    message = f"classify: must return the pair (outputs, new_state), got {got}; write `return outputs, state`"

    def classify(params, state, x, *, key=None, train):
        return outputs(nn.linear(params["fc1"], x))

    with pytest.raises(TypeError, match=re.escape(message)):
        run(classify)


@pytest.mark.parametrize(
    ("new_state", "wrong"),
    [
        (lambda bn: {}, "'bn/count' is missing; 'bn/mean' is missing; 'bn/variance' is missing;"),
        (lambda bn: {"bn": bn, "bn2": bn["mean"]}, "'bn2' is not expected;"),
        (lambda bn: {"bn": bn | {"mean": bn["mean"][None]}}, "'bn/mean' is float32[1, 4] instead of float32[4];"),
        (
            lambda bn: {"bn": bn | {"mean": bn["mean"].astype(jnp.bfloat16)}},
            "'bn/mean' is bfloat16[4] instead of float32[4];",
        ),
        (lambda bn: bn, "'bn/count' is missing;"),
    ],
)
def test_state_of_another_structure_is_refused(new_state, wrong):
    def apply(params, state, x, *, key=None, train):
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train)
        return x, new_state(bn)

    with pytest.raises(ValueError, match=r"apply: the state that it returns must be like the state") as caught:
        run(apply)
    assert wrong in str(caught.value)


def test_state_in_a_tuple_instead_of_a_list_is_refused():
    def apply(params, state, x, *, key=None, train):
        x, bn = nn.batch_norm(params[0], state[0], x, train=train)
        return x, (bn,)

    with pytest.raises(ValueError, match="the arrays lie in other containers"):
        run(apply, [nn.batch_norm_spec(4)])


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda params, state: params["fcc1"],
            "apply: params has no 'fcc1', it holds ['blocks', 'bn', 'fc1']; write params['fc1']",
        ),
        (
            lambda params, state: params["blocks"][1]["scale"],
            "apply: params['blocks'][1] has no 'scale', it holds ['bias', 'kernel']",
        ),
        (lambda params, state: state["bn1"], "apply: state has no 'bn1', it holds ['bn']; write state['bn']"),
        (lambda params, state: state["bn"]["var"], "it holds ['count', 'mean', 'variance']"),
        (
            lambda params, state: jax.checkpoint(lambda p: jnp.sum(p["blocks"][0]["kernels"]))(params),
            "params['blocks'][0] has no 'kernels', it holds ['bias', 'kernel']; write params['blocks'][0]['kernel']",
        ),
    ],
)
def test_a_name_that_does_not_exist_lists_those_that_do(read, message):
    spec = {"fc1": nn.linear_spec(4, 4), "bn": nn.batch_norm_spec(4), "blocks": [nn.linear_spec(4, 4)] * 2}
    with pytest.raises(ValueError, match=re.escape(message)):
        run(lambda params, state, x, *, key=None, train: (read(params, state), state), spec)


def test_other_key_errors_stay_as_they_are():
    def apply(params, state, x, *, key=None, train):
        return {"relu": jax.nn.relu}["fc1"](x), state

    with pytest.raises(KeyError, match="fc1"):
        run(apply)


def test_a_wrong_name_in_a_repeated_block_is_found():
    params, _ = init({"tower": repeat_spec({"fc": nn.linear_spec(4, 4)}, 2)}, KEY)

    def apply(params, state, x, *, key=None, train):
        x, _ = jax.lax.scan(lambda x, block: (nn.linear(block["lin"], x), None), x, params["tower"])
        return x, state

    with pytest.raises(ValueError, match=re.escape("params['tower'] has no 'lin', it holds ['fc']")):
        make_model({}, apply).apply(params, {}, X, train=True)


def test_the_old_state_in_training_warns_once_for_each_model():
    spec = {"a": nn.batch_norm_spec(4), "b": nn.batch_norm_spec(4), "stages": [{"c": nn.conv_norm_spec(4, 4, (1,))}]}
    spec |= {"frozen": nn.batch_norm_spec(4)}

    def apply(params, state, x, *, key=None, train):
        x, a = nn.batch_norm(params["a"], state["a"], x, train=train)
        x, _ = nn.batch_norm(params["b"], state["b"], x, train=train)
        x, _ = nn.conv_norm(params["stages"][0]["c"], state["stages"][0]["c"], x, train=train)
        x, _ = nn.batch_norm(params["frozen"], state["frozen"], x, train=False)
        return x, state | {"a": a}

    for _ in range(2):
        model = make_model(spec, apply)
        params, state = model.init(KEY)
        model.apply(params, state, X, train=False)
        with pytest.warns(UserWarning, match="with train=True, it returned the old state") as caught:
            model.apply(params, state, X, train=True)
        assert "['b', 'stages/0/c'], though batch_norm there" in str(caught[0].message)
        assert "`x, b = batch_norm(params['b'], state['b'], x, train=train)`" in str(caught[0].message)
        jax.jit(lambda p, s, model=model: model.apply(p, s, X, train=True))(params, state)


def test_state_that_no_layer_updates_does_not_warn():
    def apply(params, state, x, *, key=None, train):
        if float(x[0, 0]) > 1e6:  # cannot be traced
            return x, state
        return nn.linear(params["fc1"], x), state

    model = make_model({"fc1": nn.linear_spec(4, 4), "bn": nn.batch_norm_spec(4)}, apply)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.apply(*model.init(KEY), np.asarray(X), train=True)


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda params, x: (x, {}), "got apply(params, x)"),
        (lambda params, state, x, train: (x, {}), "unexpected keyword argument 'key'"),
        (
            {"fc": 1},
            "apply must be a function (params, state, inputs, *, key=None, train) -> (outputs, new_state), got",
        ),
    ],
)
def test_a_function_that_no_model_can_call_is_refused(apply, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make_model({}, apply)
