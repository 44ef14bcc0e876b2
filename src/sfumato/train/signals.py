"""Stopping when asked, at a moment when nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from sfumato import logs
from sfumato.errors import Stopped

_log = logs.EventLogger(__name__)
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopper:
    """While open, the first SIGINT, SIGTERM or SIGHUP is only noted, in `signal`, and acknowledged in the log; a
    second one acts at once. A SIGHUP is then no second one, as a terminal that closes may send several; where it was
    ignored before, as under nohup, it stays so.

    Outside the main thread, where signals cannot be caught, it notes nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if _heard(number):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        for own, handler in self._before.items():
            signal.signal(own, signal.SIG_IGN if own == getattr(signal, "SIGHUP", None) else handler)
        _log.info(self._word(), event="stopping", signal=number)

    def _word(self) -> str:
        return "stopping: saving what there is; a second signal ends at once"


class _Interrupter(Stopper):
    """A stopper that waits for nothing: what is under way is abandoned, as by `KeyboardInterrupt`."""

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        raise KeyboardInterrupt

    def _word(self) -> str:
        return "stopping"


@contextmanager
def interruptible(record: Path) -> Iterator[None]:
    """Within, a signal that stops abandons what is under way at once, and `Stopped` comes out; a `Stopper` inside
    notes it in its place. `record` is there once the run can be gone on with."""
    with _Interrupter() as interrupter:
        try:
            yield
        except KeyboardInterrupt:
            if interrupter.signal is None:
                raise
            left = "--resume goes on from what is kept" if record.exists() else "nothing was begun"
            raise Stopped(f"stopped by a signal; {left}", interrupter.signal) from None


def _heard(number: int) -> bool:
    return number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) != signal.SIG_IGN
