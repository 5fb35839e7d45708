"""Seeds and data of many networks, against numbers worked by hand."""

import numpy as np

from experiments.support.many import consecutive_seeds, stack


def test_seeds_follow_each_other_and_wrap_around():
    for first in (2**32 - 1, 2**33 - 1, -1):
        seeds = consecutive_seeds(first, 3)
        assert seeds.dtype == np.uint32
        assert seeds.tolist() == [4294967295, 0, 1]
    assert consecutive_seeds(2**64 + 5, 2).tolist() == [5, 6]


def test_trees_are_stacked_leaf_by_leaf():
    stacked = stack([{"x": np.array([1, 2]), "y": (3,)}, {"x": np.array([4, 5]), "y": (6,)}])
    assert stacked["x"].tolist() == [[1, 2], [4, 5]]
    assert stacked["y"][0].tolist() == [3, 6]
