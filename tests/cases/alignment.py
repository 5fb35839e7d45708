"""Cases of the attention of recurrent decoders."""

import numpy as np

from jaxnets import nn
from tests.cases.case import Case
from tests.oracles import normal

INPUTS = {
    "queries": normal(2, 3, 4),
    "memory": normal(2, 5, 6),
    "mask": np.array([[True, True, True, False, False], [True, False, True, True, True]]),
}


def additive(params, state, inputs, key):
    return nn.additive_attention(params, inputs["queries"], inputs["memory"], mask=inputs["mask"]), state


def multiplicative(params, state, inputs, key):
    return nn.multiplicative_attention(params, inputs["queries"], inputs["memory"], mask=inputs["mask"]), state


CASES = [
    Case("additive-attention", (nn.additive_attention,), nn.additive_attention_spec(4, 6, 7), additive, INPUTS),
    Case(
        "multiplicative-attention",
        (nn.multiplicative_attention,),
        nn.multiplicative_attention_spec(4, 6),
        multiplicative,
        INPUTS,
    ),
]
