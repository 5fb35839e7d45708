"""One page that is open: it is sent what its network does, and says what to do; a thread does it."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import queue
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jaxnets.playground.code import program
from jaxnets.playground.run import Run
from jaxnets.playground.seeds import Cloud, summary
from jaxnets.playground.settings import MAX_EPOCHS, PlaygroundSettings, from_link, to_link
from jaxnets.playground.welcome import sample_points, welcome

Message: TypeAlias = str | bytes
"""JSON, or a frame as `frame_bytes` writes it."""

MAX_PACE = 1000
FRAME_SECONDS = 0.03
"""After how long a frame is sent, although fewer epochs were trained than were asked for."""
FRAMES_AHEAD = 2
"""How many frames may be on their way to the page: it says when it has drawn one."""
TRAIL = 10
"""After how many epochs of one frame a further point of the curves is measured."""
WAITING = 200
"""How many commands may wait, before the page is taken for broken."""
IDLE_SECONDS = 0.5
"""After how long without a command what `train` needs is compiled, before it is asked for."""
CLOUD_POINTS = 120
"""How many points each curve of the cloud has, about."""

_LOGGER = logging.getLogger("jaxnets")


class Session:
    """The network of one page, and the thread that trains it.

    Args:
        send: takes each message for the page, and is called by the thread of the session.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._commands: queue.Queue[Mapping[str, Any]] = queue.Queue(WAITING)
        self._run: Run | None = None
        self._cloud: Cloud | None = None
        self._playing, self._goal, self._pace, self._credit = False, 0, 1, FRAMES_AHEAD
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="jaxnets playground")
        self._thread.start()

    def receive(self, text: str) -> None:
        """Take a message of the page, JSON with `do` in it; errors are sent back.

        Raises:
            queue.Full: if more messages wait than a page ever sends.
        """
        try:
            command = json.loads(text)
            if not isinstance(command, dict) or command.get("do") not in _COMMANDS:
                raise ValueError(f"a command must be one of {', '.join(_COMMANDS)}")
        except (ValueError, TypeError, RecursionError) as error:
            self._say("error", message=f"not understood: {error}")
            return
        self._commands.put_nowait(command)

    def stop(self) -> None:
        """Let the thread end, after a program that is being compiled."""
        self._closed.set()

    def close(self) -> None:
        """End the thread, and wait for it."""
        self.stop()
        self._thread.join()

    def _say(self, kind: str, **content: Any) -> None:
        self._send(json.dumps({"kind": kind, **content}))

    def _work(self) -> None:
        try:
            self._send(json.dumps({"kind": "welcome", **welcome()}))
            while not self._closed.is_set():
                self._turn()
        except Exception:
            _LOGGER.exception("the playground's session failed")
            self._say("error", message="the training failed; what happened is written where the server runs")

    def _turn(self) -> None:
        """Do the next command, or train on."""
        busy = (self._playing or self._cloud is not None) and self._credit > 0
        try:
            command = self._commands.get_nowait() if busy else self._commands.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            if busy:
                self._advance()
            elif self._run is not None:
                self._run.warm_up()
            return
        try:
            _COMMANDS[command["do"]](self, command)
        except (ValueError, TypeError) as error:
            self._say("error", message=str(error).replace("PlaygroundSettings: ", ""))

    def _advance(self) -> None:
        if self._playing:
            self._play_frame()
        if self._cloud is not None:
            self._cloud_frame(self._cloud)

    def _play_frame(self) -> None:
        run, started = self._opened(), time.perf_counter()
        trail = []
        for number in range(1, self._pace + 1):
            run.train()
            if run.epoch >= self._goal or time.perf_counter() - started > FRAME_SECONDS:
                break
            if number % TRAIL == 0:
                trail.append(_point(run))
        finite = self._show(trail)
        if not finite or run.epoch >= self._goal:
            self._pause(diverged=not finite)

    def _opened(self) -> Run:
        if self._run is None:
            raise ValueError("open a network first")
        return self._run

    def _show(self, trail: Sequence[list[float]] = ()) -> bool:
        """Send a frame, with the points of the curves before it; returns whether the losses are finite."""
        run = self._opened()
        measured = run.measure()
        output, neurons = run.pictures()
        points = [*trail, _point(run, measured)]
        header = {
            "epoch": run.epoch,
            "playing": self._playing,
            **measured,
            "trail": points,
            "layers": run.layers(),
        }
        self._send(frame_bytes(header, output, neurons))
        self._credit -= 1
        return all(math.isfinite(split["loss"]) for split in measured.values())

    def _pause(self, *, diverged: bool = False) -> None:
        run, self._playing = self._opened(), False
        settings = dataclasses.replace(run.settings, epochs=min(run.epoch, MAX_EPOCHS))
        exact = {
            split: {name: f"{value:.9g}" for name, value in found.items()} for split, found in run.measure().items()
        }
        self._say(
            "paused",
            epoch=run.epoch,
            link=to_link(settings),
            code=program(settings),
            exact=exact,
            fingerprint=run.fingerprint(),
            diverged=diverged,
        )

    def _cloud_frame(self, cloud: Cloud) -> None:
        """Train the cloud for a while, or to its next point."""
        goal = max(1, cloud.settings.epochs)
        every, started = max(1, goal // CLOUD_POINTS), time.perf_counter()
        while time.perf_counter() - started < FRAME_SECONDS:
            cloud.train()
            if cloud.epoch % every == 0 or cloud.epoch >= goal:
                break
        else:
            return
        losses, done = cloud.measure(), cloud.epoch >= goal
        content = {split: [_rounded(loss) for loss in found.tolist()] for split, found in losses.items()}
        found = {
            split: {name: _rounded(value) for name, value in summary(found).items()} for split, found in losses.items()
        }
        self._say("cloud", epoch=cloud.epoch, done=done, losses=content, summary=found)
        self._credit -= 1
        if done:
            self._cloud = None

    def _open(self, command: Mapping[str, Any]) -> None:
        """Begin a network: of a link, whose epochs are trained at once, or of settings."""
        link, settings = command.get("link"), command.get("settings")
        if link is not None and not isinstance(link, str):
            raise TypeError("link must be a string")
        if link is None and not isinstance(settings, dict):
            raise TypeError("settings must be an object, or link a string")
        wanted = PlaygroundSettings.from_dict(settings or {}) if link is None else from_link(link)
        run = Run(wanted)
        self._run, self._cloud, self._playing = run, None, False
        self._goal = max(wanted.epochs, 1)
        self._say("opened", settings=wanted.to_dict(), points=sample_points(wanted), sizes=wanted.sizes)
        self._show()
        self._pause()
        if link is not None and "epochs=" in link and wanted.epochs:
            self._playing, self._pace = True, MAX_PACE

    def _play(self, command: Mapping[str, Any]) -> None:
        run = self._opened()
        goal = _whole(command, "goal", default=MAX_EPOCHS, at_most=MAX_EPOCHS)
        self._goal = goal if goal > run.epoch else MAX_EPOCHS
        self._pace = _whole(command, "pace", default=1, at_most=MAX_PACE)
        self._playing = run.epoch < MAX_EPOCHS
        if not self._playing:
            self._pause()

    def _change_pace(self, command: Mapping[str, Any]) -> None:
        self._pace = _whole(command, "pace", default=1, at_most=MAX_PACE)

    def _stop(self, command: Mapping[str, Any]) -> None:
        self._pause()

    def _step(self, command: Mapping[str, Any]) -> None:
        self._opened().train()
        self._playing = False
        self._pause(diverged=not self._show())

    def _reset(self, command: Mapping[str, Any]) -> None:
        self._run, self._playing = Run(self._opened().settings), False
        self._show()
        self._pause()

    def _drawn(self, command: Mapping[str, Any]) -> None:
        self._credit = min(self._credit + 1, FRAMES_AHEAD)

    def _train_seeds(self, command: Mapping[str, Any]) -> None:
        goal = _whole(command, "goal", default=1000, at_most=MAX_EPOCHS)
        settings = dataclasses.replace(self._opened().settings, epochs=goal)
        self._cloud = Cloud(settings, new_points=command.get("new_points") is True)

    def _stop_seeds(self, command: Mapping[str, Any]) -> None:
        self._cloud = None


_COMMANDS: Mapping[str, Callable[[Session, Mapping[str, Any]], None]] = {
    "open": Session._open,
    "play": Session._play,
    "pace": Session._change_pace,
    "pause": Session._stop,
    "step": Session._step,
    "reset": Session._reset,
    "drawn": Session._drawn,
    "seeds": Session._train_seeds,
    "stop_seeds": Session._stop_seeds,
}


def _point(run: Run, measured: Mapping[str, Mapping[str, float]] | None = None) -> list[float]:
    """A point of the curves: epoch, training loss and test loss, and the norm of every layer's gradient."""
    found = run.measure() if measured is None else measured
    return [run.epoch, found["train"]["loss"], found["test"]["loss"], *run.gradient_norms()]


def _whole(command: Mapping[str, Any], name: str, *, default: int, at_most: int) -> int:
    value = command.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= at_most:
        raise ValueError(f"{name} must be a whole number from 1 to {at_most:,}, got {value!r}")
    return value


def _rounded(value: float) -> float | None:
    """What is enough for a curve; JSON has no infinity."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def frame_bytes(header: Mapping[str, Any], output: np.ndarray, neurons: np.ndarray) -> bytes:
    """A frame: the length of the header, uint32 little-endian; the header in JSON; the pictures, a byte a pixel.

    Numbers that are not finite are null.

    Example:
        >>> output, neurons = np.zeros((96, 96), np.uint8), np.zeros((3, 32, 32), np.uint8)
        >>> frame = frame_bytes({"epoch": 1, "loss": float("nan")}, output, neurons)
        >>> frame[4:30], len(frame) - 30
        (b'{"epoch": 1, "loss": null}', 12288)
    """
    text = json.dumps(_finite(header)).encode()
    return struct.pack("<I", len(text)) + text + output.tobytes() + neurons.tobytes()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(entry) for name, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value
