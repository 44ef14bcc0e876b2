"""What is reported while work goes on: by Python's `logging`, under the name `sfumato`.

What happens is INFO, what somebody should act on WARNING. A program shows both by
`logging.basicConfig(level=logging.INFO)`; without it, Python itself prints the warnings. The command line shows them by
`shown`.
"""

import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sfumato.wording import is_live, one_line, shortened

if TYPE_CHECKING:
    from rich.console import Console

NAME = "sfumato"
PROGRESS = ("preparing", "step", "saved")
"""Events that a live bar shows already."""
_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
"""What every record of logging holds; all else is a field of ours."""


class EventLogger:
    """A logger under the name `sfumato`; keyword arguments are fields of what is reported, and `event` is its kind.

    What a handler suffers, be it that whoever read it has gone away, that its disk is full or that it has a fault, is
    never the work's trouble: one line on standard error says so, once. What comes while a handler is busy, from a
    signal, waits until it is done.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, text: str, **fields: object) -> None:
        self._log(logging.INFO, text, fields)

    def warning(self, text: str, **fields: object) -> None:
        self._log(logging.WARNING, text, fields)

    def _log(self, level: int, text: str, fields: dict[str, object]) -> None:
        if not _STATE.silent and self._logger.isEnabledFor(level):
            in_turn(lambda: self._send(level, text, fields))

    def _send(self, level: int, text: str, fields: dict[str, object]) -> None:
        try:
            self._logger.log(level, text, extra=fields, stacklevel=8)  # the caller of `info`
        except (Exception, SystemExit) as error:
            _excuse(error)


class _State:
    silent = False
    bars = True
    excused = False
    console: "Console | None" = None


_STATE = _State()


def _excuse(error: BaseException) -> None:
    if not _STATE.excused:
        _STATE.excused = True
        reason = shortened(f"{type(error).__name__}: {error}")
        with suppress(OSError, ValueError):
            print(f"warning: the work goes on, and what it logs is not shown ({reason})", file=sys.stderr)


# One at a time --------------------------------------------------------------------------------------------------------


class _Turns(threading.local):
    """What a thread is to do, one after the other."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()
        self.busy = False

    def take(self, act: Callable[[], object]) -> None:
        self.waiting.append(act)
        if self.busy:
            return
        self.busy = True
        try:
            self._all()
        except KeyboardInterrupt:
            self._all()  # what a signal that interrupted it has to say
            raise
        finally:
            self.busy = False

    def _all(self) -> None:
        while self.waiting:
            self.waiting.popleft()()


_TURNS = _Turns()


def in_turn(act: Callable[[], object]) -> None:
    """Do something that shows things: now, or, where a signal came amid another such, after that one, which may hold
    locks of its own."""
    _TURNS.take(act)


# What the command line shows ------------------------------------------------------------------------------------------


@contextmanager
def shown(quiet: bool = False, as_json: bool = False) -> Iterator[None]:
    """Within, what is reported is a line on standard error, a JSON object if `as_json`; if `quiet`, warnings alone."""
    logger, handler = logging.getLogger(NAME), _JsonHandler() if as_json else _LineHandler()
    before = logger.level, logger.propagate, _STATE.bars
    _STATE.console = None
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate, _STATE.bars = False, not (quiet or as_json)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate, _STATE.bars = before[1:]


@contextmanager
def silent(wanted: bool = True) -> Iterator[None]:
    """Within, nothing is logged: of several processes the first alone speaks."""
    before, _STATE.silent = _STATE.silent, _STATE.silent or wanted
    try:
        yield
    finally:
        _STATE.silent = before


def console() -> "Console":
    """The console of standard error: a bar and the lines above it must share one."""
    if _STATE.console is None:
        from rich.console import Console

        _STATE.console = Console(stderr=True)
    return _STATE.console


def bars() -> bool:
    """Whether a bar is drawn on standard error."""
    return _STATE.bars and is_live(console())


class _LineHandler(logging.Handler):
    """A line on standard error, above a live bar; what does not print is spelled."""

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", "")
        if event == "picture" or (event in PROGRESS and _in_terminal() and bars()):
            return  # standard output names the pictures, and the bar shows progress
        line = one_line(("warning: " if record.levelno >= logging.WARNING else "") + record.getMessage())
        if _in_terminal():
            from rich.text import Text

            console().print(Text(line), soft_wrap=True)
        else:
            print(line, file=sys.stderr)


class _JsonHandler(logging.Handler):
    """A JSON object a line, on standard error: time, level, message, and the fields."""

    def emit(self, record: logging.LogRecord) -> None:
        print(json.dumps(_as_dict(record), default=str), file=sys.stderr)


def _as_dict(record: logging.LogRecord) -> dict[str, Any]:
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {name: value for name, value in vars(record).items() if name not in _OWN}
    return {"time": when, "level": record.levelname.lower(), "message": record.getMessage(), **fields}


def _in_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # none, or one that is closed
        return False
