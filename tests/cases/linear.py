"""Cases of the linear layer."""

from jaxnets import nn
from tests.cases.case import Case, stateless
from tests.oracles import normal

CASES = [
    Case("linear", (nn.linear,), nn.linear_spec(5, 3), stateless(nn.linear), normal(4, 5)),
    Case("linear-no-bias", (nn.linear,), nn.linear_spec(5, 3, bias=False), stateless(nn.linear), normal(4, 5)),
    Case("linear-leading-axes", (nn.linear,), nn.linear_spec(5, 3), stateless(nn.linear), normal(2, 3, 4, 5)),
]
