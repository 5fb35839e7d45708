"""Layer, RMS, group, instance and local response norm against PyTorch, and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from jaxnets import init, nn
from tests.forms import float64
from tests.oracles import assert_close, normal
from tests.torch_oracle import assert_parity

EXACT = {"rtol": 1e-9, "atol": 1e-11}


def affine(features):
    return {"scale": normal(features, seed=1, dtype=np.float64), "bias": normal(features, seed=2, dtype=np.float64)}


def inputs(*shape):
    return 2 + 3 * normal(*shape, dtype=np.float64)


def on_channels_first(function):
    """The same function of channels-last tensors."""
    return lambda x: torch.movedim(function(torch.movedim(x, -1, 1)), 1, -1)


@pytest.mark.parametrize(
    ("shape", "used", "epsilon"),
    [
        ((5,), ("scale", "bias"), 1e-5),
        ((4, 5), (), 1e-5),
        ((4, 5), ("scale",), 0.1),
        ((2, 3, 4, 5), ("scale", "bias"), 0.1),
    ],
)
def test_layer_norm_equals_torch(shape, used, epsilon):
    with float64():
        assert_parity(
            lambda p, x: nn.layer_norm(p, x, epsilon=epsilon),
            lambda p, x: F.layer_norm(x, (5,), p.get("scale"), p.get("bias"), epsilon),
            {name: affine(5)[name] for name in used},
            inputs(*shape),
            **EXACT,
        )


@pytest.mark.parametrize(
    ("shape", "used", "epsilon"),
    [((5,), ("scale",), 1e-6), ((4, 5), (), 0.1), ((2, 3, 4, 5), ("scale",), 0.1)],
)
def test_rms_norm_equals_torch(shape, used, epsilon):
    with float64():
        assert_parity(
            lambda p, x: nn.rms_norm(p, x, epsilon=epsilon),
            lambda p, x: F.rms_norm(x, (5,), p.get("scale"), epsilon),
            {name: affine(5)[name] for name in used},
            inputs(*shape),
            **EXACT,
        )


@pytest.mark.parametrize(
    ("shape", "groups", "epsilon"),
    [
        ((3, 6), 2, 0.1),
        ((3, 4, 6), 6, 1e-5),
        ((3, 4, 5, 6), 1, 0.1),
        ((3, 4, 5, 6), 3, 1e-5),
        ((2, 3, 2, 2, 6), 2, 0.1),
    ],
)
def test_group_norm_equals_torch(shape, groups, epsilon):
    with float64():
        assert_parity(
            lambda p, x: nn.group_norm(p, x, groups=groups, epsilon=epsilon),
            lambda p, x: on_channels_first(lambda z: F.group_norm(z, groups, p["scale"], p["bias"], epsilon))(x),
            affine(6),
            inputs(*shape),
            **EXACT,
        )


@pytest.mark.parametrize(
    ("shape", "used", "epsilon"),
    [
        ((3, 4, 6), ("scale", "bias"), 1e-5),
        ((3, 4, 5, 6), ("scale", "bias"), 0.1),
        ((2, 3, 2, 2, 6), (), 0.1),
    ],
)
def test_instance_norm_equals_torch(shape, used, epsilon):
    with float64():
        assert_parity(
            lambda p, x: nn.instance_norm(p, x, epsilon=epsilon),
            lambda p, x: on_channels_first(
                lambda z: F.instance_norm(z, weight=p.get("scale"), bias=p.get("bias"), eps=epsilon)
            )(x),
            {name: affine(6)[name] for name in used},
            inputs(*shape),
            **EXACT,
        )


@pytest.mark.parametrize(("shape", "size"), [((3, 7, 6), 1), ((3, 7, 6), 4), ((2, 3, 4, 6), 5), ((3, 7, 6), 20)])
def test_local_response_norm_equals_torch_with_alpha_over_size(shape, size):
    with float64():
        assert_parity(
            lambda x: nn.local_response_norm(x, size=size, alpha=0.3 / size, beta=0.6, k=1.5),
            on_channels_first(lambda z: F.local_response_norm(z, size, alpha=0.3, beta=0.6, k=1.5)),
            inputs(*shape),
            **EXACT,
        )


def test_local_response_norm_defaults_are_those_of_the_paper():
    x = 100 * normal(2, 8, dtype=np.float64)
    expected = np.empty_like(x)
    for i in range(8):
        squares = sum(x[:, j] ** 2 for j in range(max(0, i - 2), min(7, i + 2) + 1))
        expected[:, i] = x[:, i] / (2 + 1e-4 * squares) ** 0.75
    with float64():
        assert_close(nn.local_response_norm(jnp.asarray(x)), expected, **EXACT)


@pytest.mark.parametrize(
    ("normalize", "shape", "axes"),
    [
        (lambda x: nn.layer_norm({}, x), (50, 1000), (1,)),
        (lambda x: nn.group_norm({}, x, groups=1), (3, 40, 30, 8), (1, 2, 3)),
        (lambda x: nn.instance_norm({}, x), (3, 40, 30, 8), (1, 2)),
    ],
    ids=["layer", "group", "instance"],
)
def test_mean_large_beside_the_deviation_keeps_the_variance(normalize, shape, axes):
    x = (1e3 + 1e-2 * normal(*shape, dtype=np.float64)).astype(np.float32)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(axes, keepdims=True)) / np.sqrt(exact.var(axes, keepdims=True) + 1e-5)
    # What is left is the rounding of the float32 mean, 6e-5 an ulp, beside the deviation 1e-2 (PyTorch: 0.008 off,
    # Flax with its E[x^2] - E[x]^2: 10). jaxlib 0.7 sums in another order: 0.027 off.
    np.testing.assert_allclose(normalize(jnp.asarray(x)), expected, atol=3e-2)


@pytest.mark.parametrize(
    ("normalize", "shape", "axes"),
    [
        (lambda x: nn.layer_norm({}, x), (2, 20000), (1,)),
        (lambda x: nn.group_norm({}, x, groups=1), (2, 10000, 2), (1, 2)),
        (lambda x: nn.instance_norm({}, x), (2, 20000, 1), (1,)),
    ],
    ids=["layer", "group", "instance"],
)
def test_bfloat16_statistics_are_summed_in_float32(normalize, shape, axes):
    x = jnp.asarray(3 + normal(*shape), jnp.bfloat16)
    exact = np.asarray(x, np.float64)
    expected = (exact - exact.mean(axes, keepdims=True)) / exact.std(axes, keepdims=True)
    actual = normalize(x)
    assert actual.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(actual, np.float64), expected, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.layer_norm({"scale": jnp.ones(3)}, jnp.ones((2, 4))),
            r"layer_norm: last axis must fit scale \[3\]",
        ),
        (lambda: nn.layer_norm({"bias": jnp.ones(3)}, jnp.ones((2, 4))), r"must fit bias \[3\], got x \[2, 4\]"),
        (lambda: nn.layer_norm({}, jnp.float32(1)), "got a scalar"),
        (lambda: nn.rms_norm({"scale": jnp.ones(3)}, jnp.ones((2, 4))), r"rms_norm: last axis must fit scale \[3\]"),
        (lambda: nn.group_norm({"scale": jnp.ones(3)}, jnp.ones((2, 4)), groups=2), "group_norm: last axis must fit"),
        (
            lambda: nn.group_norm({}, jnp.ones(4), groups=2),
            r"must be \[batch, ..., channels\], got x \[4\]; .* x\[None\]",
        ),
        (lambda: nn.group_norm({}, jnp.ones((2, 4)), groups=3), r"must divide the 4 channels of x \[2, 4\], got 3"),
        (lambda: nn.group_norm({}, jnp.ones((2, 4)), groups=0), "must divide the 4 channels"),
        (lambda: nn.group_norm({}, jnp.ones((2, 1, 4)), groups=4), "has one value, whose variance is 0; use fewer"),
        (lambda: nn.instance_norm({}, jnp.ones((2, 4))), r"with two positions or more, got x \[2, 4\]"),
        (lambda: nn.instance_norm({}, jnp.ones((2, 1, 1, 4))), r"with two positions or more, got x \[2, 1, 1, 4\]"),
        (lambda: nn.instance_norm({"bias": jnp.ones(3)}, jnp.ones((2, 3, 4))), "instance_norm: last axis must fit"),
        (lambda: nn.local_response_norm(jnp.ones((2, 4)), size=0), "size must be at least 1, got 0"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("spec", [nn.layer_norm_spec, nn.group_norm_spec, nn.instance_norm_spec, nn.batch_norm_spec])
def test_specs_start_at_the_identity_and_leave_out_what_is_not_wanted(spec):
    params, _ = init(spec(3), jax.random.key(0))
    assert_close(params, {"scale": np.ones(3), "bias": np.zeros(3)}, rtol=0, atol=0)
    assert sorted(init(spec(3, bias=False), jax.random.key(0))[0]) == ["scale"]
    assert sorted(init(spec(3, scale=False), jax.random.key(0))[0]) == ["bias"]


@pytest.mark.parametrize("name", ["group_norm", "instance_norm", "layer_norm", "rms_norm"])
def test_an_empty_batch_stays_empty(name):
    """As in PyTorch."""
    settings = {"groups": 2} if name == "group_norm" else {}
    assert getattr(nn, name)({}, jnp.zeros((0, 5, 5, 4)), **settings).shape == (0, 5, 5, 4)
