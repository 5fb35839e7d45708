"""A session does what its page says, waits for it, and refuses what it does not understand."""

import contextlib
import json
import queue

import pytest

from jaxnets.playground.run import Run
from jaxnets.playground.session import FRAMES_AHEAD, WAITING, Session
from jaxnets.playground.settings import PlaygroundSettings, from_link, to_link
from tests.playground.live import read_frame

GAUSS = PlaygroundSettings(data="gauss", hidden=(2,))


class Page:
    """What a page is for a session."""

    def __init__(self):
        self.messages = queue.Queue()
        self.session = Session(self.messages.put)

    def say(self, command, **content):
        self.session.receive(json.dumps({"do": command, **content}))

    def next(self, timeout=60):
        """The next message, of a frame its header."""
        message = self.messages.get(timeout=timeout)
        if isinstance(message, bytes):
            header, size = read_frame(message)
            return {"kind": "frame", "size": size, **header}
        return json.loads(message)

    def until(self, kind):
        """All messages up to one of a kind; frames are acknowledged."""
        found = []
        while not found or found[-1]["kind"] != kind:
            found.append(self.next())
            if found[-1]["kind"] in ("frame", "cloud"):
                self.say("drawn")
        return found


@pytest.fixture
def page():
    found = Page()
    with contextlib.closing(found.session):
        assert found.next()["kind"] == "welcome"
        yield found


def opened(page, settings=GAUSS):
    page.say("open", settings=settings.to_dict())
    return page.until("paused")


def trained(settings, epochs):
    run = Run(settings)
    for _ in range(epochs):
        run.train()
    return run


def test_a_page_opens_steps_plays_to_the_epoch_and_begins_again(page):
    first, frame, paused = opened(page)
    assert PlaygroundSettings.from_dict(first["settings"]) == GAUSS
    assert (frame["epoch"], frame["size"]) == (0, 96 * 96 + 2 * 32 * 32)
    assert (len(first["points"]["train"]), len(first["points"]["test"])) == (250, 250)
    page.say("step")
    assert page.until("paused")[-1]["epoch"] == 1
    page.say("play", goal=7, pace=4)
    *frames, paused = page.until("paused")
    assert paused["epoch"] == frames[-1]["epoch"] == 7
    assert all(frame["playing"] for frame in frames)
    run = trained(GAUSS, 7)
    assert paused["fingerprint"] == run.fingerprint()
    assert paused["exact"]["test"]["loss"] == f"{run.measure()['test']['loss']:.9g}"
    assert from_link(paused["link"]).epochs == 7
    page.say("reset")
    assert page.until("paused")[-1]["fingerprint"] == trained(GAUSS, 0).fingerprint()


def test_a_link_goes_to_its_epoch_and_gives_the_same_bits(page):
    link = to_link(GAUSS).replace("epochs=1000", "epochs=12")
    page.say("open", link=link)
    page.until("paused")
    paused = page.until("paused")[-1]
    assert (paused["epoch"], paused["link"]) == (12, link)
    assert paused["fingerprint"] == trained(GAUSS, 12).fingerprint()


def test_it_does_not_run_ahead_of_the_page(page):
    opened(page)
    page.say("play", goal=100_000)
    frames = [page.next() for _ in range(FRAMES_AHEAD)]
    with pytest.raises(queue.Empty):
        page.next(timeout=0.5)
    page.say("drawn")
    assert page.next()["epoch"] == frames[-1]["epoch"] + 1
    page.say("pause")
    assert page.next()["kind"] == "paused"


def test_a_network_that_diverges_pauses_and_says_so(page):
    wild = PlaygroundSettings(data="plane", hidden=(8, 8), activation="linear", learning_rate=10.0)
    opened(page, wild)
    page.say("play", goal=50)
    *frames, paused = page.until("paused")
    assert paused["diverged"]
    assert frames[-1]["test"]["loss"] is None  # JSON has no NaN


def test_a_cloud_of_seeds_goes_to_the_epoch(page):
    opened(page)
    page.say("seeds", goal=3)
    clouds = []
    while not clouds or not clouds[-1]["done"]:
        clouds.append(page.until("cloud")[-1])
    last = clouds[-1]
    assert (last["epoch"], len(last["losses"]["test"])) == (3, 64)
    assert last["losses"]["test"][0] == pytest.approx(trained(GAUSS, 3).measure()["test"]["loss"], rel=1e-3)
    summary = last["summary"]["test"]
    assert summary["least"] == min(last["losses"]["test"])
    assert summary["least"] <= summary["lower"] <= summary["median"] <= summary["upper"] <= summary["largest"]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("{", "not understood"),
        ("[" * 100_000, "not understood"),
        ('"play"', "a command must be one of open, play"),
        ('{"do": "close"}', "a command must be one of open, play"),
        ('{"do": ["play"]}', "not understood"),
        ('{"do": "step"}', "open a network first"),
        ('{"do": "open"}', "settings must be an object, or link a string"),
        ('{"do": "open", "link": 3}', "link must be a string"),
        ('{"do": "open", "settings": {"hidden": [9]}}', "hidden[0] must be from 1 to 8, got 9"),
        ('{"do": "open", "settings": {"hidden": [1e300]}}', "hidden[0] must be a whole number"),
        ('{"do": "open", "settings": {"learning_rate": NaN}}', "learning_rate must be finite"),
        ('{"do": "open", "settings": {"neurons": 3}}', "has no neurons"),
        ('{"do": "pace", "pace": 1e9}', "pace must be a whole number from 1 to 1,000"),
        ('{"do": "pace", "pace": true}', "pace must be a whole number from 1 to 1,000"),
    ],
)
def test_what_it_refuses_and_goes_on(page, message, words):
    page.session.receive(message)
    found = page.next()
    assert found["kind"] == "error"
    assert words in found["message"]
    opened(page)


def test_bad_settings_leave_the_network_as_it_is(page):
    opened(page)
    page.say("open", settings={"batch_size": 10_000})
    assert "batch_size must be at most" in page.next()["message"]
    page.say("step")
    assert page.until("paused")[-1]["epoch"] == 1


def test_a_page_that_floods_is_cut_off():
    page = Page()

    def flood():
        for _ in range(100 * WAITING):
            page.say("reset")

    with contextlib.closing(page.session), pytest.raises(queue.Full):
        flood()
