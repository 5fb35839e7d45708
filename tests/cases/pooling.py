"""Cases of pooling. Inputs of maxima are permutations, so that no two entries are near each other."""

import numpy as np

from jaxnets import nn
from tests.cases.case import Case, no_params
from tests.oracles import normal


def distinct(*shape):
    """Numbers of which no two are nearer than 0.02, or than bf16 can tell apart."""
    return (np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape) / 64 - 1.0).astype(np.float32)


def case(name, function, x, unbatched=False, **settings):
    return Case(name, (function,), {}, no_params(function, **settings), x, unbatched=unbatched)


CASES = [
    case("max-pool-1d", nn.max_pool, distinct(2, 6, 3), window=(2,)),
    case("max-pool-2d", nn.max_pool, distinct(2, 4, 5, 3), window=(2, 2)),
    case("max-pool-3d", nn.max_pool, distinct(1, 3, 4, 3, 3), window=(2, 2, 2), stride=1),
    case("max-pool-overlapping", nn.max_pool, distinct(2, 5, 5, 2), window=(3, 3), stride=2, padding=1),
    case("max-pool-leading-axes", nn.max_pool, distinct(2, 2, 3, 4, 2), window=(3, 2), padding="SAME"),
    case("avg-pool-1d", nn.avg_pool, normal(2, 6, 3), window=(2,)),
    case("avg-pool-2d", nn.avg_pool, normal(2, 5, 5, 3), window=(3, 3), stride=2, padding=1),
    case("avg-pool-3d", nn.avg_pool, normal(2, 4, 3, 2, 3), window=(2, 2, 2)),
    case("avg-pool-uncounted", nn.avg_pool, normal(2, 5, 4, 3), window=(3, 2), padding="SAME", count_padding=False),
    case("avg-pool-no-batch", nn.avg_pool, normal(5, 4, 3), unbatched=True, window=(2, 2), stride=1),
    case("global-max-pool", nn.global_max_pool, distinct(2, 4, 5, 3)),
    case("global-avg-pool", nn.global_avg_pool, normal(2, 4, 5, 3)),
    case("global-avg-pool-leading-axes", nn.global_avg_pool, normal(2, 2, 3, 4, 3), rank=2),
    case("adaptive-avg-pool", nn.adaptive_avg_pool, normal(2, 7, 5, 3), output_size=(3, 2)),
    case("adaptive-max-pool", nn.adaptive_max_pool, distinct(2, 7, 5, 3), output_size=(3, 2)),
]
