"""What a person sees of a training while it runs."""

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from sfumato.train.plan import TrainingPlan, duration
from sfumato.wording import is_live, one_line, shortened

QUIET_SECONDS = 30.0
"""How long a log that no bar is drawn in goes without a line."""


class Monitor(Protocol):
    """Receives the events of a run; decides what to show."""

    def __enter__(self) -> "Monitor": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None: ...
    def preparing(self, done: int, total: int, what: str = "reading data") -> None: ...
    def plan(self, plan: TrainingPlan) -> None: ...
    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None: ...


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None: ...
    def preparing(self, done: int, total: int, what: str = "reading data") -> None: ...
    def plan(self, plan: TrainingPlan) -> None: ...
    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None: ...


class Guarded:
    """Another monitor, whose trouble is never the work's.

    Once it raises, be it that whoever read it has gone away, that the disk it writes to is full or that it has a fault,
    it is asked nothing more and the work goes on; one line on standard error says so in the end. What comes while it is
    busy, from a signal, waits until it has answered.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.trouble: BaseException | None = None
        self._waiting: deque[Callable[[], object]] = deque()
        self._busy = False

    def __enter__(self) -> "Guarded":
        self._ask(lambda: self.monitor.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._act(lambda: self.monitor.__exit__(kind, error, trace))  # also after trouble, for what it has open
        if self.trouble is not None:
            reason = shortened(f"{type(self.trouble).__name__}: {self.trouble}")
            with suppress(OSError, ValueError):
                print(f"note: the work went on without its monitor, which had failed ({reason})", file=sys.stderr)

    def say(self, text: str) -> None:
        self._ask(lambda: self.monitor.say(text))

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._ask(lambda: self.monitor.preparing(done, total, what))

    def plan(self, plan: TrainingPlan) -> None:
        self._ask(lambda: self.monitor.plan(plan))

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        self._ask(lambda: self.monitor.step(step, loss, rate, left, share))

    def _ask(self, question: Callable[[], object]) -> None:
        self._waiting.append(question)
        if self._busy:
            return
        self._busy = True
        try:
            self._answer()
        except KeyboardInterrupt:
            self._answer()  # what a signal that interrupted the monitor has to say
            raise
        finally:
            self._busy = False

    def _answer(self) -> None:
        while self._waiting:
            question = self._waiting.popleft()
            if self.trouble is None:
                self._act(question)

    def _act(self, question: Callable[[], object]) -> None:
        try:
            question()
        except (Exception, SystemExit) as error:  # rich raises SystemExit where a pipe is broken
            self.trouble = self.trouble or error


class Terminal:
    """A live line in a terminal; where output goes elsewhere, a line every half minute."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live = is_live(self.console)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None
        self._shown = time.monotonic()
        self._plural = "data"

    def __enter__(self) -> "Terminal":
        self._bar.start()
        self._task = self._bar.add_task("getting ready", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self.console.print(Text(one_line(text)), soft_wrap=True)

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._update(f"{what}: {done:,} of {total:,}", done / max(total, 1))

    def plan(self, plan: TrainingPlan) -> None:
        self._plural = plan.plural
        self._shown = -float("inf")  # the first step is shown at once
        for heading, text in plan.lines():
            self.console.print(Text.assemble("  ", (f"{heading:<8}", "bold"), " ", text), soft_wrap=True)

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        line = f"step {step:,}  loss {loss:.4f}  {rate:,.0f} {self._plural}/s  {duration(left)} left"
        self._update(line, share)

    def _update(self, line: str, share: float) -> None:
        if self._live and self._task is not None:
            self._bar.update(self._task, description=line, completed=share)
        elif not self._live and time.monotonic() - self._shown >= QUIET_SECONDS:
            self._shown = time.monotonic()
            self.say(line)
