"""The bar in a notebook: what it says at which time, and what a front end gets of it from a real kernel."""

import xml.etree.ElementTree as ET

import nbclient
import nbformat
import numpy as np
import pytest

from jaxnets.report import notebook_bar
from jaxnets.training import Event

FIT = """
import time, jax.numpy as jnp
from jaxnets.report import progress
from tests.report import toy

def slow(event):
    if event.kind == "start":
        time.sleep(1.7)  # as long as a compilation
    if event.kind == "epoch" and event.epoch == stop_after:
        raise ValueError("out of cheese")
"""


def event(kind, step=0, examples=0, split="train", **metrics):
    return Event(kind, step, step / 10, 30, examples, split, metrics, None)


class Front:
    """A front end that keeps all pictures of one output."""

    def __init__(self):
        self.pictures = []

    def display(self, bundle, *, raw, display_id):
        assert raw
        assert display_id
        assert not self.pictures, "a second output"
        self.pictures.append(bundle)
        return self

    def update(self, bundle, *, raw):
        assert raw
        self.pictures.append(bundle)

    @property
    def page(self):
        return ET.fromstring(self.pictures[-1]["text/html"])

    @property
    def words(self):
        return [span.text for span in self.page.iter("span")]

    @property
    def rows(self):
        return [[cell.text or "" for cell in row] for row in self.page.iter("tr")]

    @property
    def bar(self):
        return next((part.attrib for part in self.page.iter() if part.get("role") == "progressbar"), None)


@pytest.fixture
def front(monkeypatch):
    made = Front()
    monkeypatch.setattr("IPython.display.display", made.display)
    return made


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is set forward."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


@pytest.fixture
def bar(monkeypatch):
    """A bar that is drawn by hand: its thread does nothing."""
    monkeypatch.setattr(notebook_bar.NotebookBar, "keep_drawing", lambda self, stop: None)
    return notebook_bar.NotebookBar()


def redraw(bar):
    bar.draw(bar.stop)


def test_it_says_how_long_it_compiles(bar, front, clock):
    bar(event("start"))
    assert front.words == ["compiling", "0:00"]
    assert "aria-valuenow" not in front.bar  # nobody knows how long
    clock[0] += 75
    redraw(bar)
    assert front.words == ["compiling", "1:15"]


def test_the_remaining_time_is_that_of_the_steps_after_the_first_dispatch(bar, front, clock):
    bar(event("start"))
    clock[0] += 60  # compilation
    bar(event("steps", 5, 40, loss=2.0))
    redraw(bar)
    assert front.words == ["epoch 1/3", "17%", "train: loss 2"]  # one dispatch says nothing
    clock[0] += 10
    bar(event("steps", 10, 40, loss=1.0))
    redraw(bar)  # 5 steps took 10 s, 20 are left
    assert front.words == ["epoch 1/3", "33%", "0:40 left", "4 examples/s", "train: loss 1"]
    assert front.bar["aria-valuenow"] == "33"
    clock[0] += 12
    redraw(bar)  # it goes on without an event
    assert front.words[2] == "0:28 left"
    clock[0] += 100
    redraw(bar)
    assert front.words[2] == "0:00 left"


def test_epochs_are_rows_and_metrics_columns(bar, front, clock):
    bar(event("start"))
    clock[0] += 61
    bar(event("steps", 10, 40, loss=1.0))
    bar(event("epoch", 10, **{"loss": 1.5, "confusion": np.eye(3), "<&>": 1e-5}))
    bar(event("evaluate", 10, split="validation", loss=1.25))
    bar(event("steps", 20, 40, loss=1.0))
    bar(event("epoch", 20, **{"loss": 0.5, "<&>": 12345.0}))
    redraw(bar)
    assert front.rows == [
        ["", "train", "validation", ""],
        ["epoch", "loss", "<&>", "loss", "time"],
        ["1", "1.500", "1.000e-05", "1.250", "1:01"],
        ["2", "0.5000", "1.234e+04", "", "1:01"],
    ]
    assert front.pictures[-1]["text/plain"].splitlines() == [
        "epoch 1/3  train: loss 1.5 <&> 1e-05  validation: loss 1.25",
        "epoch 2/3  train: loss 0.5 <&> 1.234e+04",
        "epoch 2/3  67%  0:00 left",
    ]


def test_of_many_epochs_every_tenth_is_shown_and_the_last(bar, front):
    bar(event("start")._replace(total_steps=1000))
    for epoch in range(1, 95):
        told = event("epoch", 10 * epoch, loss=1.0)._replace(total_steps=1000)
        bar(told)
    redraw(bar)
    assert [row[0] for row in front.rows[2:]] == ["10", "20", "30", "40", "50", "60", "70", "80", "90", "94"]


def test_at_the_end_the_bar_goes_and_a_summary_stays(bar, front, clock):
    bar(event("start"))
    bar(event("steps", 10, 40, loss=1.0))
    clock[0] += 2
    bar(event("steps", 30, 160, loss=1.0))
    bar(event("end", 30))
    assert front.words == ["30 steps", "in 2.0 s", "80 examples/s"]
    assert front.bar is None
    redraw(bar)  # what comes late changes nothing
    assert len(front.pictures) == 2


def test_a_bar_of_a_stopped_run_stays_where_it_was(bar, front, clock):
    bar(event("start"))
    bar(event("steps", 15, 40, loss=1.0))
    clock[0] += 2
    bar(event("end", 15))
    assert front.words == ["stopped after 15 of 30 steps", "in 2.0 s"]
    assert front.bar["aria-valuenow"] == "50"


class Recorder(nbclient.NotebookClient):
    """A front end that keeps what every output looked like over time."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.pictures.append(msg["content"]["data"]["text/plain"])
        return super().process_message(msg, cell, cell_index)


def run_in_a_kernel(*sources):
    """The cells after they ran, and all pictures of their outputs."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = Recorder(notebook, timeout=60, allow_errors=True)
    client.pictures = []
    client.execute()
    return notebook.cells, client.pictures


def test_a_kernel_draws_while_it_waits_and_also_after_an_error():
    fit = "toy.train([progress(), slow])"
    threads = "import threading; print([thread.name for thread in threading.enumerate() if 'draw' in thread.name])"
    cells, pictures = run_in_a_kernel(FIT, f"stop_after = None\n{fit}", f"stop_after = 1\n{fit}", threads)
    second = pictures.index("compiling  0:00", next(i for i, text in enumerate(pictures) if "10 steps" in text))
    for shown in (pictures[:second], pictures[second:]):
        clocks = {text.removeprefix("compiling  ") for text in shown if text.startswith("compiling")}
        assert "0:00" in clocks
        assert len(clocks) > 1  # drawn while the callback slept
    outputs = [[output.output_type for output in cell.outputs] for cell in cells]
    assert outputs[1] == ["display_data", "execute_result"]
    assert outputs[2] == ["display_data", "error"]
    whole, stopped = (cells[i].outputs[0].data["text/plain"].splitlines() for i in (1, 2))
    assert [line.split("  ")[0] for line in whole] == ["epoch 1/2", "epoch 2/2", "10 steps"]
    assert [line.split("  ")[0] for line in stopped] == ["epoch 1/2", "stopped after 5 of 10 steps"]
    assert cells[2].outputs[1].evalue == "out of cheese"
    assert cells[3].outputs[0].text == "[]\n"
