"""What `sfumato generate` shows while it draws: a bar, and a line for every file."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from sfumato import logs
from sfumato.media.protocol import Record
from sfumato.system.draw import Frame
from sfumato.wording import duration, one_line

_log = logs.EventLogger(__name__)
_QUIET_SECONDS = 30.0
"""How long a log that no bar is drawn in goes without a line."""


class Report:
    """Behind a bar on standard error, a line on standard output for every file: its path, or `as_json` an object. Where
    standard error is no terminal, a line there every half minute takes the place of the bar."""

    def __init__(
        self, total: int, plural: str, as_json: bool = False, preview: Callable[[Frame], None] | None = None
    ) -> None:
        self.total, self._plural, self._as_json, self._preview = total, plural, as_json, preview
        self._done, self.skipped, self._pace = 0, 0, Pace()
        self._shown = time.monotonic()
        self._live = logs.bars()
        columns = (TextColumn("drawing"), BarColumn(bar_width=24), TextColumn("{task.description}"))
        self._bar = Progress(
            *columns, console=logs.console(), transient=True, disable=not self._live, redirect_stdout=False
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "Report":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, frame: Frame, samples: int) -> None:
        """A step of a batch of so many samples."""
        if self._preview is not None:
            self._preview(frame)
        done = self._done + samples * frame.done / frame.total
        self._pace.note(done - self.skipped)
        if self.total == 1:
            self._show(f"step {frame.done:,} of {frame.total:,}", done)
        else:
            self._show(f"{int(done):,} of {self.total:,} {self._plural}{self._pace.rate(self._plural)}", done)

    def file(self, path: Path, record: Record, number: int, seconds: float | None) -> None:
        """A sample is in its file: written, in so many `seconds` of drawing, or there before."""
        self._done += 1
        self.skipped += seconds is None
        if self._as_json:
            print(json.dumps(_entry(path, record, number, seconds)), flush=True)
        elif self._live and sys.stdout.isatty():  # the bar has a line of its own, below
            self._bar.console.out(one_line(str(path)), highlight=False)
        else:  # a path is for a program
            print(one_line(str(path)), flush=True)
        _log.info(str(path), event="picture", path=str(path))

    def _show(self, text: str, done: float) -> None:
        text += self._pace.left(self.total - done)
        if self._live:
            self._bar.update(self._task, description=text, completed=done)
        elif time.monotonic() - self._shown >= _QUIET_SECONDS:
            self._shown = time.monotonic()
            _log.info(f"drawing: {text}", event="step", done=done, total=self.total)


class Pace:
    """How fast samples are drawn, from the first step on, which may have waited for weights."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._last = (0.0, 0.0)

    def note(self, done: float) -> None:
        """So many samples are drawn by now, counting parts of one."""
        self._last = (time.monotonic(), done)
        self._first = self._first or self._last

    @property
    def seconds(self) -> float | None:
        """The seconds that a sample takes; None as long as nobody knows."""
        if self._first is None or self._last[1] <= self._first[1]:
            return None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])

    def rate(self, plural: str) -> str:
        if not self.seconds:
            return ""
        return f"  {1 / self.seconds:.3g} {plural}/s" if self.seconds < 10 else f"  {self.seconds:.0f} s each"

    def left(self, samples: float) -> str:
        return "" if self.seconds is None else f"  {duration(samples * self.seconds)} left"


def _entry(path: Path, record: Record, number: int, seconds: float | None) -> dict[str, Any]:
    """A sample as a line of JSON says what it is."""
    size = record.get("size") or record.get("stages", [{}])[-1].get("size")
    entry = {"path": str(path), "prompt": record["prompt"], "seed": record["seed"], "index": number, "size": size}
    return entry | ({"skipped": True} if seconds is None else {"seconds": round(seconds, 4)})
