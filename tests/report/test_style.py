"""The style of figures: colors that people with a color blindness tell apart, and PNG files that keep them."""

import itertools
import re

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from jaxnets.report import style
from jaxnets.report.pages import render

DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1: what is seen of linear RGB."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color, deficiency):
    """CIE L*a*b* of a color as it is seen."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(DEFICIENCIES[deficiency]) @ linear, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize(("colors", "least"), [(style.COLORS, 15), (style.TEN, 15)])
def test_colors_are_told_apart(colors, least, deficiency):
    """A distance of 2.3 is just noticeable."""
    seen = [lab(color, deficiency) for color in colors]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > least


@pytest.mark.parametrize(("scheme", "least"), [(0, 15), (1, 10)])
def test_colors_of_pages_are_told_apart_and_seen(scheme, least):
    """On light and on dark pages; WCAG asks for a contrast of 3 of what is drawn."""
    css = (render.FOLDER / "page.css").read_text().split("prefers-color-scheme: dark")[scheme]
    colors = dict(re.findall(r"--(card|c\d): (#\w{6})", css))
    background = luminance(colors.pop("card"))
    assert len(colors) == 8
    for deficiency in DEFICIENCIES:
        seen = [lab(color, deficiency) for color in colors.values()]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > least
    for color in colors.values():
        darker, lighter = sorted((luminance(color), background))
        assert (lighter + 0.05) / (darker + 0.05) >= 3


def luminance(color):
    rgb = np.array(matplotlib.colors.to_rgb(color))
    return float(TO_XYZ[1] @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4))


def test_a_png_has_no_palette(tmp_path):
    figure = Figure()
    style.save(figure, tmp_path / "figure.png")
    content = (tmp_path / "figure.png").read_bytes()
    assert content[12:16] == b"IHDR"
    assert content[25] in (2, 6)  # RGB with or without alpha; 3 is a palette


def test_nothing_is_written_without_a_path_and_other_folders_have_no_caption(tmp_path):
    figure = Figure()
    style.save(figure, None)
    assert style.run_caption(tmp_path) == ""
    (tmp_path / "config.json").write_text("{")
    assert style.run_caption(tmp_path) == ""
    folder = tmp_path / "runs" / "example" / "20260101-000000-seed4"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"seed": 4}')
    assert style.run_caption(folder) == "example, seed 4, run 20260101-000000-seed4"


@pytest.mark.parametrize("place", ["lower left", "outside lower left"])
def test_legends_stay_above_the_line_that_names_the_run(place, tmp_path):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([1, 2], label="a line")
    legend = figure.legend(loc=place)
    run = tmp_path / "run"
    run.mkdir()
    style.save(figure, run / "without.png")
    (run / "config.json").write_text('{"seed": 4}')
    for name in ("with.png", "again.png"):
        style.save(figure, run / name)
    without, captioned, again = (imread(run / f"{name}.png") for name in ("without", "with", "again"))
    below = captioned[len(without) :]
    assert (below[:, : below.shape[1] // 2] == 1).all()
    assert (below[:, below.shape[1] // 2 :] < 1).any()
    np.testing.assert_array_equal(captioned, again)
    if "outside" in place:
        figure.draw_without_rendering()
        assert legend.get_window_extent().y1 < axes.get_tightbbox().y0
