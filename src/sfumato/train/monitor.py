"""What a person sees of a training while it runs. What is reported in words goes through `logs`."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from sfumato import logs
from sfumato.train.plan import TrainingPlan
from sfumato.wording import duration, is_live, shortened

QUIET_SECONDS = 30.0
"""How long a log goes without a line."""
_log = logs.EventLogger(__name__)


class Monitor(Protocol):
    """Receives the progress of a run; decides what to show."""

    def __enter__(self) -> "Monitor": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
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

    def preparing(self, done: int, total: int, what: str = "reading data") -> None: ...
    def plan(self, plan: TrainingPlan) -> None: ...
    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None: ...


class Guarded:
    """Other monitors, whose trouble is never the work's.

    Once one raises, be it that whoever read it has gone away or that it has a fault, it is asked nothing more and the
    work goes on; one line on standard error says so in the end. What comes while one is busy, from a signal, waits
    until it has answered.
    """

    def __init__(self, *monitors: Monitor) -> None:
        self.monitors = monitors
        self.troubles: dict[int, BaseException] = {}

    def __enter__(self) -> "Guarded":
        self._ask(lambda monitor: monitor.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in range(len(self.monitors)):  # also after trouble, for what it has open
            self._act(number, lambda monitor: monitor.__exit__(kind, error, trace))
        for trouble in self.troubles.values():
            reason = shortened(f"{type(trouble).__name__}: {trouble}")
            with suppress(OSError, ValueError):
                print(f"warning: the work went on without its monitor, which had failed ({reason})", file=sys.stderr)

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._ask(lambda monitor: monitor.preparing(done, total, what))

    def plan(self, plan: TrainingPlan) -> None:
        self._ask(lambda monitor: monitor.plan(plan))

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        self._ask(lambda monitor: monitor.step(step, loss, rate, left, share))

    def _ask(self, question: Callable[[Monitor], object]) -> None:
        logs.in_turn(lambda: self._each(question))

    def _each(self, question: Callable[[Monitor], object]) -> None:
        for number in range(len(self.monitors)):
            if number not in self.troubles:
                self._act(number, question)

    def _act(self, number: int, question: Callable[[Monitor], object]) -> None:
        try:
            question(self.monitors[number])
        except (Exception, SystemExit) as error:  # rich raises SystemExit where a pipe is broken
            self.troubles.setdefault(number, error)


class Logged(Quiet):
    """Logs the plan, and how far the run is: at once, every half minute, and at the end."""

    def __init__(self) -> None:
        self._shown = time.monotonic()
        self._plural = "data"

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        if time.monotonic() - self._shown >= QUIET_SECONDS:
            self._shown = time.monotonic()
            _log.info(f"{what}: {done:,} of {total:,}", event="preparing", done=done, total=total)

    def plan(self, plan: TrainingPlan) -> None:
        """The first of the lines carries the numbers."""
        self._plural = plan.plural
        self._shown = -float("inf")  # the first step is shown at once
        numbers = plan.numbers()
        for heading, text in plan.lines():
            _log.info(f"  {heading:<8} {text}", event="plan", **numbers)
            numbers = {}

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        if time.monotonic() - self._shown < QUIET_SECONDS and share < 1:
            return
        self._shown = time.monotonic()
        fields = {"step": step, "loss": loss, "rate": round(rate, 1), "left_seconds": round(left, 1)}
        _log.info(step_line(step, loss, rate, left, self._plural), event="step", share=round(share, 4), **fields)


class Terminal:
    """A live bar in a terminal; elsewhere nothing, as the log has all."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or logs.console()
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not is_live(self.console),
        )
        self._task: TaskID | None = None
        self._plural = "data"

    def __enter__(self) -> "Terminal":
        self._bar.start()
        self._task = self._bar.add_task("getting ready", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._update(f"{what}: {done:,} of {total:,}", done / max(total, 1))

    def plan(self, plan: TrainingPlan) -> None:
        self._plural = plan.plural

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        self._update(step_line(step, loss, rate, left, self._plural), share)

    def _update(self, line: str, share: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=line, completed=share)


def step_line(step: int, loss: float, rate: float, left: float, plural: str) -> str:
    """A line on a step: its loss, how many data a second, and the seconds left."""
    return f"step {step:,}  loss {loss:.4f}  {rate:,.0f} {plural}/s  {duration(left)} left"
