"""Cases of the forms of dropout."""

from jaxnets import nn
from tests.cases.case import Case
from tests.oracles import normal


def drop(function, train):
    def apply(params, state, inputs, key):
        return function(inputs, 0.4, key=key if train else None, train=train), state

    return apply


CASES = [
    Case(f"{name}-{'train' if train else 'apply'}", (function,), {}, drop(function, train), inputs, random=train)
    for name, function, inputs in [
        ("dropout", nn.dropout, normal(4, 5)),
        ("classic-dropout", nn.classic_dropout, normal(4, 5)),
        ("spatial-dropout", nn.spatial_dropout, normal(3, 2, 2, 4)),
        ("drop-path", nn.drop_path, normal(6, 2, 3)),
    ]
    for train in (True, False)
]
