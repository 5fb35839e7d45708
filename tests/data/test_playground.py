import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from jaxnets.data import playground, playground_features

LIKELY = 1e-4
"""Right distributions fall below it with one seed in 10,000; wrong ones, with 20,000 numbers, are far below."""
SETS = ("circle", "xor", "gauss", "spiral", "plane", "multi-gauss")


def everything(name, **options):
    """Points and labels of all parts, in float64."""
    data = playground(name, **options)
    inputs, labels = (np.concatenate([part[i] for part in data[:3]]).astype(np.float64) for i in (0, 1))
    return inputs, labels


@pytest.mark.parametrize("name", SETS)
def test_sizes_and_types(name):
    data = playground(name, validation=0.1)
    count = 1200 if name in ("plane", "multi-gauss") else 500
    assert [len(part[0]) for part in data[:3]] == [count // 2, count // 10, count * 4 // 10]
    assert (data.train[0].shape[1:], data.train[0].dtype, data.train[1].dtype) == ((2,), np.float32, np.float32)
    assert data.classes == (("-1", "1") if count == 500 else ())


@pytest.mark.parametrize("name", SETS)
def test_seed_decides(name):
    first, again, other = (playground(name, seed, noise=0.2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train[0], again.train[0])
    np.testing.assert_array_equal(first.test[1], again.test[1])
    if name != "spiral":
        assert not np.isin(first.train[0], other.train[0]).any()
    assert not np.array_equal(first.train[0], other.train[0])


def test_circle():
    x, labels = everything("circle", examples=20_000)
    radius = np.hypot(*x.T)
    inside = radius[labels > 0]
    assert len(inside) == 10_000
    assert stats.kstest(inside, stats.uniform(0, 2.5).cdf).pvalue > LIKELY
    assert stats.kstest(radius[labels < 0], stats.uniform(3.5, 1.5).cdf).pvalue > LIKELY
    assert stats.kstest(np.arctan2(*x.T), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > LIKELY


def test_circle_noise_moves_labels_not_points():
    quiet, noisy = everything("circle", examples=20_000), everything("circle", examples=20_000, noise=0.5)
    np.testing.assert_array_equal(quiet[0], noisy[0])
    # At the center a label turns where (u1, u2), uniform in the square of half side 2.5, leaves the disc of radius 2.5.
    center = np.hypot(*noisy[0].T) < 0.3
    assert abs((noisy[1][center] < 0).mean() - (1 - math.pi / 4)) < 0.05


def test_xor():
    x, labels = everything("xor", examples=20_000)
    np.testing.assert_array_equal(labels, np.sign(x[:, 0]) * np.sign(x[:, 1]))
    assert stats.kstest(np.abs(x).ravel(), stats.uniform(0.3, 5).cdf).pvalue > LIKELY
    noisy = everything("xor", examples=20_000, noise=0.5)
    np.testing.assert_array_equal(noisy[0], x)
    assert 0.05 < (noisy[1] != labels).mean() < 0.5


@pytest.mark.parametrize(("noise", "variance"), [(0, 0.5), (0.25, 2.25), (0.5, 4)])
def test_gauss(noise, variance):
    x, labels = everything("gauss", examples=20_000, noise=noise)
    assert labels.sum() == 0
    assert stats.kstest((x - 2 * labels[:, None]).ravel(), stats.norm(0, math.sqrt(variance)).cdf).pvalue > LIKELY


def test_spiral_arms():
    x, labels = everything("spiral", examples=500)
    radius = np.hypot(*x.T)
    np.testing.assert_allclose(np.sort(radius[labels > 0]), np.arange(250) / 50, atol=1e-6)
    # Halfway out, r = 2.5, an arm has turned by 1.75 pi: sin and cos of it are -0.7071 and 0.7071.
    arm = x[(labels > 0) & np.isclose(radius, 2.5)]
    np.testing.assert_allclose(arm, [[-2.5 * math.sqrt(0.5), 2.5 * math.sqrt(0.5)]], atol=1e-5)
    other = x[(labels < 0) & np.isclose(radius, 2.5)]
    np.testing.assert_allclose(other, -arm, atol=1e-5)
    noisy, _ = everything("spiral", examples=500, noise=0.5)
    difference = np.abs(noisy - x)
    assert 0.4 < difference.max() <= 0.5 + 1e-6


def test_plane():
    x, targets = everything("plane")
    np.testing.assert_allclose(targets, x.sum(axis=1) / 10, atol=1e-6)
    assert stats.kstest(x.ravel(), stats.uniform(-6, 12).cdf).pvalue > LIKELY
    noisy = everything("plane", noise=0.5)
    np.testing.assert_array_equal(noisy[0], x)
    assert 0.52 < np.abs(noisy[1] - targets).max() <= 0.6


def test_multi_gauss_is_the_highest_of_six_cones():
    x, targets = everything("multi-gauss")
    centers = {(-4, 2.5): 1, (0, 2.5): -1, (4, 2.5): 1, (-4, -2.5): -1, (0, -2.5): 1, (4, -2.5): -1}
    for point, target in zip(x[:300], targets[:300], strict=True):
        values = [sign * max(0.0, 1 - math.dist(point, center) / 2) for center, sign in centers.items()]
        assert target == pytest.approx(max(values, key=abs), abs=1e-6)
    assert (targets == 0).any()


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.floats(-6, 6), st.floats(-6, 6))
def test_features(x1, x2):
    expected = [x1, x2, x1 * x1, x2 * x2, x1 * x2, math.sin(x1), math.sin(x2)]
    np.testing.assert_allclose(playground_features(np.array([x1, x2])), expected, rtol=1e-12, atol=1e-300)


def test_chosen_features_keep_their_order():
    data = playground("spiral", features=["sin(x2)", "x1"])
    points = playground("spiral").train[0]
    np.testing.assert_allclose(data.train[0], np.stack([np.sin(points[:, 1]), points[:, 0]], 1), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ring"}, "no data set is named 'ring'; the names are circle, xor"),
        ({"noise": 50}, "from 0 to 0.5, got 50"),
        ({"noise": -0.1}, "got -0.1"),
        ({"train": 1.0}, "train=1.0"),
        ({"train": 0.5, "validation": 0.5}, "validation=0.5"),
        ({"examples": 7}, "an even number .*got 7"),
        ({"examples": 0}, "got 0"),
        ({"features": ["x3"]}, r"got \['x3'\]"),
        ({"features": []}, r"got \[\]"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        playground(**{"name": "circle", **options})


def test_points_need_two_coordinates():
    with pytest.raises(ValueError, match=r"points are \[..., 2\], got \[3\]"):
        playground_features(np.ones(3))


def test_parts_are_rounded_to_whole_examples():
    data = playground("circle", train=0.7, validation=0.1)
    assert [len(part[0]) for part in data[:3]] == [350, 50, 100]
