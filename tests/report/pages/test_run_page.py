"""The report of a run: its numbers are those of the files, all text is text, and errors say what to do."""

import base64
import json
import sys

import pytest

from jaxnets.report import write_report
from jaxnets.report.pages import report_command
from jaxnets.report.pages.curves import FEWEST, Chart, Series, thinned
from tests.report.pages.html_page import Page, words
from tests.report.pages.made_runs import NASTY, make_run, result_of, rows_of

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63f8ffff3f0005fe02fea7359c"
    "810000000049454e44ae426082"
)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", seed=3)


def read(run, **options):
    return Page(write_report(run, **options).read_text(encoding="utf-8"))


def test_results_are_those_of_the_file(run):
    header, *rows = read(run).tables("results")[0]
    metrics = result_of(run)["metrics"]
    assert {row[0][0] for row in rows} == set(metrics)
    for row in rows:
        for (name, _), (shown, exact) in zip(header[1:], row[1:], strict=True):
            assert float(exact) == metrics[row[0][0]][name]
            assert float(shown) == pytest.approx(float(exact), rel=1e-3)


def test_curves_and_the_table_below_them_are_the_rows_of_the_file(run):
    page, rows = read(run), rows_of(run)
    drawn = {
        (chart["title"], series["label"], *point)
        for chart in page.charts()
        for series in chart["series"]
        for point in series["points"]
    }
    assert drawn == {
        (name, row["split"], row["epoch"], row["step"], row[name]) for row in rows for name in ("loss", "accuracy")
    }
    header, *shown = page.tables("curves")[0]
    assert [name for name, _ in header] == ["step", "epoch", "split", "loss", "accuracy"]
    for cells, row in zip(shown, rows, strict=True):
        assert [float(cells[i][1]) for i in (0, 1, 3, 4)] == [
            row[name] for name in ("step", "epoch", "loss", "accuracy")
        ]
        assert cells[2][0] == row["split"]


def test_it_says_how_to_reproduce_the_run(run):
    page, result = read(run), result_of(run)
    assert page.by_id("command").text == result["command"]
    assert page.by_id("packages").text == "pip install jax==0.10.2 numpy==2.4.0"
    section = words(page.by_id("reproduce"))
    assert result["fingerprint"] in section
    assert "0123456789abcdef, with changes that are in no commit" in section
    settings = {name: value for [(name, _), (value, _)] in page.tables("reproduce")[0]}
    assert settings == {"seed": "3", "out": str(run), "learning_rate": "0.1", "optimizer": "adam", "epochs": "4"}


def test_times_add_up(run):
    *parts, total = read(run).tables("time")[0][1:]
    seconds = {row[0][0].split()[0]: float(row[1][1].removesuffix(" s")) for row in parts}
    assert seconds == {"Tracing": 2.5, "Training,": 6.0, "Evaluation": 1.5, "The": 2.5, "Drawing": 1.25}
    assert float(total[1][1].removesuffix(" s")) == sum(seconds.values()) == 13.75
    assert [row[2][0] for row in parts] == [f"{value / 13.75:.0%}" for value in seconds.values()]


def test_everything_in_the_folder_is_inside_of_the_page(run):
    (run / "confusion.png").write_bytes(PNG)
    (run / "curves.png").write_bytes(PNG)
    (run / "sample.txt").write_text("To be\nor not")
    (run / "summary.txt").write_text("path  layer")
    (run / "gradients.txt").write_text(
        "parameter   gradient  parameter  rms gradient  dead\n"
        "conv1/bias     1e-09       0.50      1.00e-10    0%  no effect on the loss\n"
        "no effect on the loss: because"
    )
    page = read(run)
    picture, curves = page.all("img")
    assert picture.get("alt").startswith("Confusion matrix")
    assert curves.get("alt").startswith("Curves")
    assert base64.b64decode(picture.get("src").split(",")[1]) == PNG
    assert "To be\nor not" in [node.text for node in page.by_id("samples").iter("pre")]
    assert [node.text for node in page.by_id("model").iter("pre")] == ["path  layer"]
    _, row = page.tables("gradients")[0]
    assert [cell for cell, _ in row] == ["conv1/bias", "1e-09", "0.50", "1.00e-10", "0%", "no effect on the loss"]
    assert "no effect on the loss: because" in words(page.by_id("gradients"))


def test_text_of_a_run_is_never_html(tmp_path):
    run = make_run(tmp_path / "a <b>&", name=NASTY, experiment=NASTY, command=NASTY)
    row = {"step": 1, "epoch": 9.0, "split": "train", NASTY: 0.25}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    (run / "sample.txt").write_text(NASTY)
    page = read(run)
    assert page.all("img") == []
    assert len(page.all("script")) == 2
    assert page.by_id("command").text == NASTY
    assert page.charts()[-1]["title"] == NASTY
    assert words(page.all("h1")[0]) == " ".join(NASTY.split())
    assert dict([cells[0][0], cells[1][0]] for cells in page.tables("reproduce")[0])["optimizer"] == NASTY


def test_an_unfinished_run_shows_what_there_is(tmp_path):
    run = make_run(tmp_path / "runs" / "made_up" / "20260101-000000-seed0", finished=False)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 125, "ep')  # killed while it wrote
    page = read(run)
    notices = [words(node) for node in page.all("p") if node.get("class") == "notice"]
    assert any("has not finished" in notice and "up to step 100 (epoch 4)" in notice for notice in notices)
    assert any("line 10 is incomplete and was skipped" in notice for notice in notices)
    assert words(page.all("h1")[0]) == "made_up"
    assert len(page.charts()) == 2
    last = {(cells[0][0], cells[2][0]): float(cells[3][1]) for cells in page.tables("results")[0][1:]}
    assert last == {
        (row["split"], name): row[name] for row in rows_of_complete(run)[-3:] for name in ("loss", "accuracy")
    }


def rows_of_complete(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n")[:-1]]


def test_nothing_but_settings_is_a_page_too(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    page = read(tmp_path)
    assert "has not finished" in words(page.root.find("body"))


def test_values_that_are_not_finite(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 150, "epoch": 6, "split": "train", "loss": "NaN"}\n')
    page = read(run)
    assert page.charts()[0]["series"][0]["points"][-1] == [6, 150, None]
    assert page.tables("curves")[0][-1][3] == ("NaN", "nan")


def test_errors_say_what_to_write_instead(tmp_path, capsys):
    with pytest.raises(ValueError, match="is not the folder of a run: there is no such folder"):
        write_report(tmp_path / "missing")
    make_run(tmp_path / "group" / "one")
    with pytest.raises(ValueError, match=r"it has no config\.json; runs are in .*group/one"):
        write_report(tmp_path / "group")
    run = make_run(tmp_path / "damaged")
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(SystemExit) as left:
        report_command.main([str(run)])
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("jaxnets report: ")
    assert "metrics.jsonl: line 1 must have numbers step and epoch" in said
    assert said.count("\n") == 1
    (run / "metrics.jsonl").unlink()
    for text in ("{", "[]", "{}", '{"metrics": {}, "seconds": 3}'):
        (run / "result.json").write_text(text)
        with pytest.raises(ValueError, match=r"result\.json is damaged"):
            write_report(run)


def test_the_command_writes_where_it_is_told(run, tmp_path, capsys):
    report_command.main([str(run), "--out", str(tmp_path / "sub" / "page.html")])
    assert capsys.readouterr().out == f"{tmp_path / 'sub' / 'page.html'}\n"
    Page((tmp_path / "sub" / "page.html").read_text(encoding="utf-8"))


def test_long_runs_keep_their_extremes_and_the_page_small(tmp_path):
    run = make_run(tmp_path / "run", epochs=30_000)
    page = write_report(run).read_text(encoding="utf-8")
    assert len(page) < 1_000_000
    values = [row["loss"] for row in rows_of(run) if row["split"] == "train"]
    points = Page(page).charts()[0]["series"][0]["points"]
    drawn = [point[2] for point in points]
    assert (min(drawn), max(drawn), drawn[0], drawn[-1]) == (min(values), max(values), values[0], values[-1])
    assert [point[0] for point in points] == sorted(point[0] for point in points)


def test_many_lines_get_fewer_points_each():
    line = Series("a", [(float(i), float(i), float(i)) for i in range(1000)], 0)
    charts = thinned([Chart(str(i), [line]) for i in range(1000)])
    assert {len(chart.series[0].points) for chart in charts} <= set(range(FEWEST // 2, FEWEST + 1))
    assert charts[0].series[0].thinned == 1000


def test_without_jinja2_it_is_said_how_to_install_it(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(SystemExit, match="1"):
        report_command.main([str(run)])
    assert "pip install 'jaxnets[report]'" in capsys.readouterr().err
