"""Comparisons: groups, means and spreads against NumPy and SciPy, in all three forms."""

import json
import re

import numpy as np
import pytest

from jaxnets.report import compare_runs
from jaxnets.report.pages import compare_command
from jaxnets.report.pages.groups import mean_curve
from tests.report.pages.html_page import Page, words
from tests.report.pages.made_runs import NASTY, make_run, result_of, rows_of

stats = pytest.importorskip("scipy.stats")


@pytest.fixture
def runs(tmp_path):
    """Seeds 0, 1 and 2, and one run with another learning rate."""
    made = [make_run(tmp_path / f"run{seed}", seed=seed) for seed in (2, 0, 1)]
    return [*made, make_run(tmp_path / "other", seed=0, learning_rate=0.3)]


def finals(runs, split="test", name="accuracy"):
    return [result_of(run)["metrics"][split][name] for run in runs]


def test_groups_differ_in_more_than_the_seed(runs):
    first, second = compare_runs(runs).groups
    assert (first.letter, first.label, first.seeds) == ("A", "learning_rate 0.1", [0, 1, 2])
    assert (second.letter, second.label, second.seeds) == ("B", "learning_rate 0.3", [0])


def test_means_and_spreads_are_scipys(runs):
    for name, (first, second) in compare_runs(runs).results().items():
        split, metric = name.split()
        values = finals(runs[:3], split, metric)
        described = stats.describe(values)
        assert first.n == described.nobs == 3
        assert first.mean == pytest.approx(described.mean, rel=1e-12)
        assert first.deviation == pytest.approx(np.sqrt(described.variance), rel=1e-12)
        assert (first.smallest, first.largest) == described.minmax
        assert (second.n, second.mean, second.deviation) == (1, *finals(runs[3:], split, metric), None)


def test_mean_curves_are_numpys_where_all_runs_have_values(runs):
    (group, _) = compare_runs(runs).groups
    curves = np.array([[row["loss"] for row in rows_of(run) if row["split"] == "train"] for run in runs[:3]])
    points, band = mean_curve(group, "loss", "train")
    np.testing.assert_allclose([value for _, _, value in points], curves.mean(axis=0))
    deviation = curves.std(axis=0, ddof=1)
    np.testing.assert_allclose(
        np.array(band)[:, 1:], np.stack([curves.mean(0) - deviation, curves.mean(0) + deviation], 1)
    )
    short = runs[0] / "metrics.jsonl"
    short.write_text("".join(short.read_text().splitlines(keepends=True)[:4]))  # two epochs
    points, _ = mean_curve(compare_runs(runs).groups[0], "loss", "train")
    assert [epoch for epoch, _, _ in points] == [1.0, 2.0]


def test_the_page_shows_the_same_numbers(runs):
    comparison = compare_runs(runs)
    page = Page(comparison.html())
    header, *rows = page.tables("results")[0]
    assert [words for words, _ in header] == ["metric", "A", "B"]
    results = comparison.results()
    for cells in rows:
        for (_, title), found in zip(cells[1:], results[cells[0][0]], strict=True):
            assert title == f"mean {found.mean}, standard deviation {found.deviation}, n {found.n}"
    settings = {cells[0][0]: [value for value, _ in cells[1:]] for cells in page.tables("settings")[0][1:]}
    assert settings["learning_rate (differs)"] == ["0.1", "0.3"]
    assert settings["epochs"] == ["4", "4"]
    assert "seed" not in settings
    marked = [row for row in page.by_id("settings").iter("tr") if row.get("class") == "differs"]
    assert len(marked) == 1
    numbers = page.tables("runs")[0][1:]
    assert [float(cells[4][1]) for cells in numbers] == [finals([run], name="loss")[0] for run in sorted_runs(runs)]


def sorted_runs(runs):
    return [runs[1], runs[2], runs[0], runs[3]]


def test_the_charts_have_every_run_and_the_mean(runs):
    charts = {chart["title"]: chart["series"] for chart in Page(compare_runs(runs).html()).charts()}
    assert set(charts) == {"loss, train", "loss, validation", "accuracy, train", "accuracy, validation"}
    kinds = [(series["kind"], series["color"]) for series in charts["loss, train"]]
    assert kinds == [("thin", 0)] * 3 + [("mean", 0), ("line", 1)]
    drawn = charts["loss, train"][0]["points"]
    assert [value for _, _, value in drawn] == [row["loss"] for row in rows_of(runs[1]) if row["split"] == "train"]


def test_markdown_has_the_tables(runs):
    lines = compare_runs(runs).markdown().splitlines()
    values = finals(runs[:3])
    (row,) = (line for line in lines if line.startswith("| test accuracy"))
    assert f"| {np.mean(values):.4g} ± {np.std(values, ddof=1):.4g} (n 3, " in row
    assert "| **learning\\_rate** | **0.1** | **0.3** |" in lines
    assert "| epochs | 4 | 4 |" in lines


def test_the_figure_draws_the_means(runs, tmp_path):
    figure = compare_runs(runs).plot(tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
    axes = figure.axes[0]
    assert axes.get_title() == "loss, train"
    curves = np.array([[row["loss"] for row in rows_of(run) if row["split"] == "train"] for run in runs[:3]])
    (mean,) = (line for line in axes.lines if line.get_label().endswith("mean of 3"))
    np.testing.assert_allclose(mean.get_ydata(), curves.mean(axis=0))
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_an_unfinished_run_is_in_no_mean(runs, tmp_path):
    unfinished = make_run(tmp_path / "unfinished", seed=7, finished=False, experiment="made_up")
    config = json.loads((unfinished / "config.json").read_text())
    assert config["seed"] == 7
    comparison = compare_runs([*runs, unfinished])
    assert comparison.title == "made_up: 5 runs in 2 groups"
    assert comparison.groups[0].seeds == [0, 1, 2, 7]
    assert any("unfinished has not finished" in warning for warning in comparison.warnings)
    assert {spread.n for found in comparison.results().values() for spread in found if spread} == {3, 1}


def test_a_seed_that_is_there_twice_is_said(runs, tmp_path):
    again = make_run(tmp_path / "again", seed=0)
    comparison = compare_runs([*runs, again])
    assert comparison.warnings[0].startswith("Group A has seed 0 more than once")


def test_different_environments_are_marked(runs, tmp_path):
    newer = make_run(tmp_path / "newer", seed=9, versions={"python": "3.11.7", "jax": "0.12.0"})
    page = Page(compare_runs([*runs, newer]).html())
    marked = [row for row in page.by_id("environment").iter("tr") if row.get("class") == "differs"]
    found = {words(row[0]): words(row[1]) for row in marked}
    assert found["jax"] == "0.10.2 (A seed 0, A seed 1, A seed 2, B seed 0)0.12.0 (A seed 9)"
    assert "python" not in found


def test_infinities_and_missing_numbers(tmp_path):
    one = make_run(tmp_path / "one", seed=0, metrics={"test": {"loss": "Infinity", "only": 1}})
    two = make_run(tmp_path / "two", seed=1, metrics={"test": {"loss": 1.0}})
    results = compare_runs([one, two]).results()
    assert results["test loss"][0].mean == np.inf
    assert np.isnan(results["test loss"][0].deviation)
    assert results["test only"][0].n == 1
    Page(compare_runs([one, two]).html())


def test_text_of_runs_is_never_html_nor_markdown(tmp_path):
    nasty = make_run(tmp_path / "a", name=NASTY, experiment=NASTY)
    plain = make_run(tmp_path / "b", name="**bold** | x")
    comparison = compare_runs([nasty, plain])
    page = Page(comparison.html())
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert not re.search(r"(?<!\\)[<>&*_`]", comparison.markdown().replace("**", ""))
    assert "\\*\\*bold\\*\\* \\| x" in comparison.markdown()
    assert "<img" not in comparison._repr_html_()


def test_the_command_writes_three_files(runs, tmp_path, capsys):
    compare_command.main([*map(str, runs), "--out", str(tmp_path / "out")])
    names = capsys.readouterr().out.split()
    assert [name.rpartition("/")[2] for name in names] == ["compare.html", "compare.md", "compare.png"]
    assert all((tmp_path / "out" / name.rpartition("/")[2]).stat().st_size for name in names)


def test_errors_say_what_to_write_instead(runs, tmp_path, capsys):
    with pytest.raises(ValueError, match="is given 2 times; name each run once"):
        compare_runs([runs[0], runs[1], runs[0]])
    with pytest.raises(ValueError, match="give the folders of two runs or more"):
        compare_runs([])
    with pytest.raises(SystemExit):
        compare_command.main([str(tmp_path / "nowhere")])
    assert "is not the folder of a run: there is no such folder; runs are in" in capsys.readouterr().err
