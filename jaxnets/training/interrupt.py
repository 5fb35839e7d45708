"""Ctrl-C and the signals that end a process or warn of its end: finish what is running, save, and leave."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from jaxnets.processes import OtherProcessError, agree
from jaxnets.training.event import Callback, Event, call

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
    """Whether the run is to stop, because a signal came or a callback said so; all processes agree on it.

    Attributes:
        received: the number of the first signal that came to this process; None as long as there was none.
        signal_number: that of a signal that came to any process, once they agreed on it.
        stop: whether a callback of any process ended the run, once they agreed on it.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.signal_number: int | None = None
        self.stop = False
        self._answer = False
        self._error: Exception | None = None

    def __bool__(self) -> bool:
        return self.stop or self.signal_number is not None

    def tell(self, callbacks: Sequence[Callback], event: Event) -> None:
        """Call callbacks; what they answer or raise counts as soon as the processes agree."""
        if self._error is None:
            try:
                self._answer |= call(callbacks, event)
            except Exception as error:
                self._error = error

    def agree(self) -> None:
        """Agree with the other processes on what callbacks answered and which signals came.

        Raises:
            Exception: what a callback raised.
            OtherProcessError: if one raised in another process.
        """
        failed, stop, received = agree(int(self._error is not None), int(self._answer), self.received or 0)
        if self._error is not None:
            raise self._error
        if failed:
            raise OtherProcessError("fit: a callback failed in another process, whose output says why")
        self.stop, self.signal_number = bool(stop), received or None


@contextlib.contextmanager
def stop_on_signals(*, enabled: bool = True) -> Iterator[StopRequest]:
    """Note the signals `SIGNALS` instead of being ended by them; a second one acts as it did before.

    Outside of the main thread, where Python allows no handlers, nothing is changed. A signal that is ignored stays so.

    Args:
        enabled: False changes nothing.

    Example:
        >>> with stop_on_signals() as request:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> request.received == signal.SIGTERM
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
        request.received = number
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
