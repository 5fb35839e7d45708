"""Cases of batch, layer, RMS, group, instance and local response norm."""

import numpy as np

from jaxnets import nn
from tests.cases.case import Case, no_params, stateless
from tests.oracles import normal

SEQUENCE_MASK = np.array([[True, True, False], [True, False, False]])


def batch_norm(**settings):
    def apply(params, state, inputs, key):
        return nn.batch_norm(params, state, inputs, **settings)

    return apply


def masked_batch_norm(params, state, inputs, key):
    return nn.batch_norm(params, state, inputs["x"], train=True, mask=inputs["mask"])


def there_and_back(params, state, inputs, key):
    normalized, statistics = nn.reversible_norm(params, inputs["x"])
    return nn.reversible_norm_inverse(params, normalized * inputs["factor"], statistics), state


REVERSIBLE = (nn.reversible_norm, nn.reversible_norm_inverse)
BATCH_NORM = (nn.batch_norm,)
CASES = [
    Case(
        "batch-norm-train", BATCH_NORM, nn.batch_norm_spec(3), batch_norm(train=True), normal(6, 3), needs_examples=True
    ),
    Case("batch-norm-apply", BATCH_NORM, nn.batch_norm_spec(3), batch_norm(train=False), normal(6, 3)),
    Case(
        "batch-norm-image",
        BATCH_NORM,
        nn.batch_norm_spec(3),
        batch_norm(train=True),
        normal(2, 4, 5, 3),
        needs_examples=True,
    ),
    Case(
        "batch-norm-plain",
        BATCH_NORM,
        nn.batch_norm_spec(3, scale=False, bias=False),
        batch_norm(train=True, warm_up=False, unbiased=False, momentum=0.5, epsilon=1e-3),
        normal(6, 3),
        needs_examples=True,
    ),
    Case(
        "batch-norm-masked",
        BATCH_NORM,
        nn.batch_norm_spec(4),
        masked_batch_norm,
        {"x": normal(2, 3, 4), "mask": SEQUENCE_MASK},
        needs_examples=True,
    ),
    Case("layer-norm", (nn.layer_norm,), nn.layer_norm_spec(5), stateless(nn.layer_norm), normal(2, 3, 5)),
    Case(
        "layer-norm-no-bias",
        (nn.layer_norm,),
        nn.layer_norm_spec(5, bias=False),
        stateless(nn.layer_norm, epsilon=1e-2),
        normal(4, 5),
    ),
    Case("rms-norm", (nn.rms_norm,), nn.rms_norm_spec(5), stateless(nn.rms_norm), normal(2, 3, 5)),
    Case("group-norm", (nn.group_norm,), nn.group_norm_spec(6), stateless(nn.group_norm, groups=3), normal(2, 3, 4, 6)),
    Case(
        "group-norm-no-spatial-axes",
        (nn.group_norm,),
        nn.group_norm_spec(6, scale=False),
        stateless(nn.group_norm, groups=2),
        normal(2, 6),
    ),
    Case(
        "instance-norm",
        (nn.instance_norm,),
        nn.instance_norm_spec(3),
        stateless(nn.instance_norm),
        normal(2, 4, 5, 3),
    ),
    Case(
        "local-response-norm",
        (nn.local_response_norm,),
        {},
        no_params(nn.local_response_norm, size=4, alpha=0.3),
        normal(2, 3, 7),
    ),
    Case(
        "reversible-norm",
        REVERSIBLE,
        nn.reversible_norm_spec(3),
        there_and_back,
        {"x": normal(4, 5, 3), "factor": normal(4, 5, 3, seed=1)},
    ),
]
