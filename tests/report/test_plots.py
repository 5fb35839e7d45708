"""Pictures: what they say, read back from the figures and from the text of SVG files."""

import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxnets.report import plot_confusion, plot_curves, plot_mistakes


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved; nothing is written."""
    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
    return saved


def rows(split, losses, name="loss"):
    return [{"step": 5 * i, "epoch": i, "split": split, name: loss} for i, loss in enumerate(losses, start=1)]


def svg_texts(path):
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_curves_have_a_panel_a_metric_and_a_line_a_split(figures):
    train, validation = rows("train", [1.0, 0.5, 0.3]), rows("validation", [1.1, 0.7, 0.8])
    test = [{"step": 15, "epoch": 3, "split": "test", "loss": 0.75, "confusion": [[1, 0], [0, 1]]}]
    plot_curves([*train, *validation, *test, *rows("train", [0.5, 0.8], "accuracy")], "unused")
    loss, accuracy = figures[0].axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    assert loss.get_xlabel() == "epoch"
    drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in loss.lines}
    assert drawn == {
        "train 0.3": ([1, 2, 3], [1.0, 0.5, 0.3]),
        "validation 0.8": ([1, 2, 3], [1.1, 0.7, 0.8]),
        "test 0.75": ([3], [0.75]),
    }
    assert len({line.get_color() for line in loss.lines}) == 3


@pytest.mark.parametrize(
    ("values", "scale"), [([1.0, 0.05], "log"), ([1.0, 0.2], "linear"), ([1.0, 0.0], "linear"), ([1.0, -5.0], "linear")]
)
def test_wide_positive_ranges_are_logarithmic(figures, values, scale):
    plot_curves(rows("train", values), "unused")
    (axes,) = figures[0].axes
    assert axes.get_yscale() == scale


@pytest.mark.parametrize("epochs", [2, 3, 5, 7, 40, 1000])
def test_only_whole_epochs_are_marked(epochs):
    figure = plot_curves(rows("train", np.linspace(1, 0.5, epochs)))
    marked = figure.axes[0].get_xticks()
    assert 2 <= len(marked) <= 9
    assert all(float(tick).is_integer() for tick in marked)


def test_figures_are_returned_and_say_of_which_run_they_are(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 7}')
    (tmp_path / "result.json").write_text('{"experiment": "example"}')
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = plot_curves(rows("train", [1.0, 0.5]), tmp_path / "curves.svg")
        plot_confusion(np.eye(2), ["$a", "b"], tmp_path / "confusion.svg")
    for name in ("curves", "confusion"):
        assert f"example, seed 7, run {tmp_path.name}" in svg_texts(tmp_path / f"{name}.svg")
    assert figure.texts == []  # of the file alone
    assert [axes.get_title() for axes in plot_curves(rows("train", [1.0])).axes] == ["loss"]


def test_a_single_epoch_is_the_only_tick(figures):
    plot_curves([*rows("train", [0.5]), *rows("validation", [0.7])], "unused")
    assert list(figures[0].axes[0].get_xticks()) == [1]


def test_values_that_are_not_finite_are_left_out(figures):
    plot_curves(rows("train", [1.0, np.nan, 0.5, np.inf]) + rows("train", [np.nan], "ratio"), "unused")
    loss, ratio = figures[0].axes
    assert list(loss.lines[0].get_xdata()) == [1, 3]
    assert [text.get_text() for text in ratio.texts] == ["no finite value"]


def test_curves_without_a_metric_are_refused():
    with pytest.raises(ValueError, match="hold no metric"):
        plot_curves([{"step": 1, "epoch": 1, "split": "train"}], "unused")


def test_confusion_says_counts_names_and_accuracy(tmp_path):
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_confusion(np.array([[7, 2], [0, 11]]), ["cat", "dog"], tmp_path / "confusion.svg")
    texts = svg_texts(tmp_path / "confusion.svg")
    assert {"7", "2", "11"} <= set(texts)
    assert {"cat", "dog", "true class", "predicted class", "share of the true class"} <= set(texts)
    assert "18 of 20 right, accuracy 90.00%" in texts


def test_confusion_rows_are_true_classes(figures):
    plot_confusion(np.array([[6, 2], [0, 0]]), ["cat", "dog"], "unused")
    axes = figures[0].axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert {text.get_text(): text.get_position() for text in axes.texts} == {"6": (0, 0), "2": (1, 0)}
    assert axes.get_ylabel() == "true class"


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (2,)])
def test_confusion_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match=r"matrix must be \[2, 2\] for 2 class names, got"):
        plot_confusion(np.ones(shape), ["cat", "dog"], "unused")


def shown(figure):
    return [axes.get_title() for axes in figure.axes]


def test_mistakes_are_the_most_confident_ones_in_order(figures):
    labels, predictions = np.array([0, 1, 2, 0, 1]), np.array([0, 2, 0, 1, 2])
    confidences = np.array([0.99, 0.5, 0.9, 0.75, 0.6])
    images = np.arange(5)[:, None, None, None] / 8 * np.ones((1, 4, 4, 1))
    plot_mistakes(images, labels, predictions, confidences, "unused", class_names=["a", "b", "c"], count=3)
    assert shown(figures[0]) == [
        "true: c\npredicted: a (90%)",
        "true: a\npredicted: b (75%)",
        "true: b\npredicted: c (60%)",
    ]
    assert [float(axes.images[0].get_array()[0, 0]) for axes in figures[0].axes] == [2 / 8, 3 / 8, 4 / 8]
    assert figures[0].get_suptitle() == "the 3 most confident of 4 mistakes in 5 images"


def test_no_mistakes_is_a_picture_too(tmp_path, figures):
    plot_mistakes(np.ones((4, 8, 8)), np.arange(4), np.arange(4), np.ones(4), "unused")
    assert figures[0].get_suptitle() == "no mistakes in 4 images"
    assert figures[0].axes == []


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((2, 2, 3), 51, np.uint8), np.full((2, 2, 3), 0.2)),
        (np.full((2, 2, 1), 0.25, np.float32), np.full((2, 2), 0.25)),
        (np.array([[-1.0, 3.0], [1.0, 0.0]]), np.array([[0, 1], [0.5, 0.25]])),
        (np.full((2, 2), 7.0), np.zeros((2, 2))),
    ],
    ids=["rgb-bytes", "gray-with-channel", "normalized", "constant"],
)
def test_images_are_shown_between_black_and_white(figures, image, expected):
    plot_mistakes(image[None], [0], [1], [1.0], "unused")
    picture = figures[0].axes[0].images[0]
    np.testing.assert_allclose(picture.get_array(), expected)
    assert picture.get_clim() == (0, 1)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"images must be .* got \[2, 4, 4, 2\]"):
        plot_mistakes(np.ones((2, 4, 4, 2)), [0, 1], [1, 0], [1.0, 1.0], "unused")
    with pytest.raises(ValueError, match=r"predictions must be \[2\], one per image, got \[3\]"):
        plot_mistakes(np.ones((2, 4, 4)), [0, 1], [1, 0, 0], [1.0, 1.0], "unused")


def test_pictures_are_png_files_and_pyplot_stays_out(tmp_path):
    code = (
        "import sys, numpy as np; from jaxnets.report import plot_confusion, plot_curves, plot_mistakes\n"
        "plot_curves([{'step': 1, 'epoch': 1, 'split': 'train', 'loss': 1.0}], 'curves.png')\n"
        "plot_confusion(np.eye(30), [str(i) for i in range(30)], 'confusion.png')\n"
        "plot_mistakes(np.ones((1, 4, 4)), [0], [1], [0.5], 'mistakes.png')\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path), "JAX_PLATFORMS": "cpu", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == "False"
    for name in ("curves", "confusion", "mistakes"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["Ba$$in", "$_$", "$a_$", "$", r"\$x^2$", "a$b$c$"])
def test_dollars_are_drawn_as_they_are(tmp_path, name):
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_confusion(np.eye(2, dtype=int), [name, "b"], tmp_path / "confusion.svg")
        plot_mistakes(
            np.ones((2, 8, 8)), [0, 1], [1, 0], [0.9, 0.8], tmp_path / "mistakes.svg", class_names=[name, "b"]
        )
        plot_curves(rows("train", [1.0, 0.5], name), tmp_path / "curves.svg")
        plot_curves(rows("train", [1.0, 0.01], name), tmp_path / "log.svg")
    assert svg_texts(tmp_path / "confusion.svg").count(name) == 2
    assert {f"true: {name}", f"predicted: {name} (80%)"} <= set(svg_texts(tmp_path / "mistakes.svg"))
    assert svg_texts(tmp_path / "curves.svg").count(name) == 2
    assert {name, f"{name} (log scale)"} <= set(svg_texts(tmp_path / "log.svg"))
