"""What a person sees of a training while it runs."""

import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from sfumato.train.plan import Plan, duration
from sfumato.wording import one_line


class Monitor(Protocol):
    """Told what happens; decides what to show."""

    def __enter__(self) -> "Monitor": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None: ...
    def preparing(self, done: int, total: int, what: str = "reading pictures") -> None: ...
    def plan(self, plan: Plan) -> None: ...
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
    def preparing(self, done: int, total: int, what: str = "reading pictures") -> None: ...
    def plan(self, plan: Plan) -> None: ...
    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None: ...


class Terminal:
    """A live line in a terminal; where output goes elsewhere, a line every half minute."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._shown = -float("inf")

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

    def preparing(self, done: int, total: int, what: str = "reading pictures") -> None:
        self._update(f"{what}: {done:,} of {total:,}", done / max(total, 1))

    def plan(self, plan: Plan) -> None:
        for heading, text in plan.lines():
            self.console.print(Text.assemble("  ", (f"{heading:<8}", "bold"), " ", text), soft_wrap=True)

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        line = f"step {step:,}  loss {loss:.4f}  {rate:,.0f} pictures/s  {duration(left)} left"
        self._update(line, share)
        if not self.console.is_terminal and time.monotonic() - self._shown > 30:
            self._shown = time.monotonic()
            self.say(line)

    def _update(self, line: str, share: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, description=line, completed=share)
