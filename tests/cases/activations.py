"""Cases of the activations that are not `jax.nn`'s."""

from jaxnets import nn
from tests.cases.case import Case, no_params, stateless
from tests.oracles import normal


def rrelu(params, state, inputs, key):
    return nn.rrelu(inputs, key=key, train=True), state


CASES = [
    Case("prelu", (nn.prelu,), nn.prelu_spec(), stateless(nn.prelu), normal(4, 5)),
    Case("prelu-features", (nn.prelu,), nn.prelu_spec(5), stateless(nn.prelu), normal(2, 3, 5)),
    Case("rrelu-train", (nn.rrelu,), {}, rrelu, normal(4, 5), random=True),
    Case("rrelu-apply", (nn.rrelu,), {}, no_params(nn.rrelu, train=False), normal(4, 5)),
    Case("maxout", (nn.maxout,), nn.maxout_spec(5, 3), stateless(nn.maxout), normal(4, 5)),
    Case(
        "maxout-no-bias",
        (nn.maxout,),
        nn.maxout_spec(5, 3, pieces=4, bias=False),
        stateless(nn.maxout),
        normal(2, 3, 5),
    ),
    Case("heaviside", (nn.heaviside,), {}, no_params(nn.heaviside), normal(4, 5)),
    Case("piecewise-linear", (nn.piecewise_linear,), {}, no_params(nn.piecewise_linear), normal(4, 5)),
    Case("gelu-exact", (nn.gelu,), {}, no_params(nn.gelu, approximate=False), normal(4, 5)),
    Case("quick-gelu", (nn.quick_gelu,), {}, no_params(nn.quick_gelu), normal(4, 5)),
    Case("softmax", (nn.softmax,), {}, no_params(nn.softmax), normal(4, 5)),
    Case("log-softmax", (nn.log_softmax,), {}, no_params(nn.log_softmax), normal(4, 5)),
    Case("softplus", (nn.softplus,), {}, no_params(nn.softplus, beta=3.0), normal(4, 5)),
    Case("hard-tanh", (nn.hard_tanh,), {}, no_params(nn.hard_tanh, minimum=-0.5, maximum=0.8), normal(4, 5)),
    Case("tanh-shrink", (nn.tanh_shrink,), {}, no_params(nn.tanh_shrink), normal(4, 5)),
    Case("soft-shrink", (nn.soft_shrink,), {}, no_params(nn.soft_shrink, threshold=0.3), normal(4, 5)),
    Case("hard-shrink", (nn.hard_shrink,), {}, no_params(nn.hard_shrink, threshold=0.3), normal(4, 5)),
]
