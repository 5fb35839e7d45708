"""Ctrl-C and the signals that end a process or warn of its end: finish what is running, save, and leave."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
"""Ctrl-C, a request to end, a closed terminal, and what SLURM sends some time before it ends a job (`--signal`)."""
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class Interrupted(KeyboardInterrupt):
    """`fit` was asked to stop; its checkpoint is saved.

    Attributes:
        signal_number: of the signal that asked, one of `SIGNALS`.
        step: optimizer steps done and saved.
    """

    def __init__(self, message: str, signal_number: int, step: int):
        super().__init__(message)
        self.signal_number, self.step = signal_number, step


class StopRequest:
    """Whether a signal has asked to stop.

    Attributes:
        signal_number: of the first such signal; None as long as there was none.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextlib.contextmanager
def stop_on_signals(*, enabled: bool = True) -> Iterator[StopRequest]:
    """Note the signals `SIGNALS` instead of being ended by them; a second one acts as it did before.

    Outside of the main thread, where Python allows no handlers, nothing is changed. A signal that is ignored stays so.

    Args:
        enabled: False changes nothing.

    Example:
        >>> with stop_on_signals() as request:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> request.signal_number == signal.SIGTERM
        True
    """
    request = StopRequest()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
