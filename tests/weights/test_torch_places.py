"""Where the arrays of PyTorch's modules go: one module for each layer, and counts that int32 holds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, nn, repeat_spec
from jaxnets.weights import Place, from_torch, to_torch


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([("r", 0), ("r", 1)], "modules for layers 0, 1 of 'r/.*', which has 0 to 2"),
        ([("r", 0), ("r", 2)], "modules for layers 0, 2 of 'r/.*', which has 0 to 2"),
        ([("r", i) for i in range(4)], "modules for layers 0, 1, 2, 3 of 'r/.*', which has 0 to 2"),
        ([("r", 0), ("r", 1), ("r", 2), ("r", 2)], "the names put both 'x2.*' and 'x3.*' at 'r/.*'"),
        ([("r", None)] * 2, "the names put both 'x0.*' and 'x1.*' at 'r/.*'"),
    ],
)
def test_every_stacked_layer_has_one_module(places, message):
    spec = {"r": repeat_spec(nn.linear_spec(3, 2), 3)}
    names = {f"x{number}": Place(*place) for number, place in enumerate(places)}
    arrays = {f"{module}.weight": np.ones((2, 3), np.float32) for module in names}
    arrays |= {f"{module}.bias": np.ones(2, np.float32) for module in names}
    with pytest.raises(ValueError, match=message):
        from_torch(arrays, spec, names)
    with pytest.raises(ValueError, match=message):
        to_torch(init(spec, jax.random.key(0))[0], {}, spec, names)


def test_a_count_of_batches_beyond_int32_stays_large():
    """PyTorch counts in int64; with momentum 0.9 the mean 5 moves by a tenth of the way to 101."""
    arrays = {"x.weight": np.ones(1), "x.bias": np.zeros(1), "x.running_mean": np.full(1, 5.0)}
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    arrays |= {"x.running_var": np.ones(1, np.float32), "x.num_batches_tracked": np.array(3_000_000_000)}
    _, state = from_torch(arrays, {"a": nn.batch_norm_spec(1)}, {"x": Place("a")})
    _, after = nn.batch_norm({}, state["a"], jnp.array([[100.0], [102.0]]), train=True)
    np.testing.assert_allclose(after["mean"], 5 + 0.1 * 96, rtol=1e-6)
