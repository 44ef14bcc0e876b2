"""`index.html` of a run: written whole at each turn, from what the run knows and what lies in its folder."""

import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from sfumato import disk, files, logs
from sfumato.data.dataset import Dataset
from sfumato.errors import Stopped
from sfumato.train.base_recipe import Recipe
from sfumato.train.monitor import Quiet
from sfumato.train.page.browser import show_page
from sfumato.train.page.history import MOST_SITTINGS, now, read_history, write_history
from sfumato.train.page.render import MARK, RunFacts, render
from sfumato.train.plan import TrainingPlan, duration
from sfumato.train.run_folder import RunFolder
from sfumato.wording import shortened

_PAUSE = 15.0
"""Seconds between two versions of the page, at the least."""
_COST = 50
"""Writing the page takes one part in so many of the time, at the most."""
_log = logs.EventLogger(__name__)


class RunPage(Quiet):
    """The page of a run, which watches it as a monitor does.

    It is only to look at: what keeps it from being written is a warning, once, and an `index.html` or
    `history.json` of somebody else's stays. With `open_page` it is shown in the browser as soon as it is there.
    """

    def __init__(
        self,
        folder: RunFolder,
        where: str,
        recipe: Recipe,
        dataset: Dataset,
        notes: Sequence[str] = (),
        open_page: bool = False,
    ) -> None:
        self.folder, self.open_page = folder, open_page
        self.facts = RunFacts(where, recipe, dataset, (*notes, *dataset.notes))
        found = read_history(folder.history)
        self.sittings, self._keeps = found or [], found is not None
        self._due, self._trouble, self._written = 0.0, False, False

    def __enter__(self) -> "RunPage":
        return self

    # The events of a run ----------------------------------------------------------------------------------------------

    def waiting(self, what: str) -> None:
        """The run does something long before it trains."""
        self.facts = replace(self.facts, doing=what, detail="")
        self.write()

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._now_and_then(detail=f"{what}: {done:,} of {total:,}")

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        if self.facts.plan is None:  # a stage's
            self._now_and_then(detail=f"step {step:,}, about {duration(left)} left")
        else:
            self._now_and_then(step=step, left=left, share=share)

    def begin(self, recipe: Recipe, plan: TrainingPlan) -> None:
        """The run trains from now on, as planned."""
        own = {"began": now(), "from": plan.start, "machine": f"{plan.machine}, {plan.precision}"}
        self.sittings = [*self.sittings[1 - MOST_SITTINGS :], own]
        notes = tuple(filter(None, (plan.warning, *self.facts.notes)))
        self.facts = replace(self.facts, recipe=recipe, plan=plan, notes=notes, step=plan.start)
        self._keep()
        self.write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.folder.begun and self._written):  # a run that is refused stays as it was
            return
        self.facts = replace(self.facts, step=max(self.folder.last_step, 0), end=_end(error))
        if self.facts.plan is not None:
            self.sittings[-1] |= {"ended": now(), "to": self.facts.step, "end": self.facts.end}
            self._keep()
        self.write()

    # Files ------------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Write the page as things are now."""
        began = time.monotonic()
        try:
            if self._is_ours():
                page = render(self.folder, self.facts, self.sittings)
                files.write_bytes(self.folder.page, page.encode(errors="replace"))
                self._written = True
                self._show()
        except Exception as error:
            self._warn(f"the page of the run could not be written: {str(error) or type(error).__name__}")
        self._due = time.monotonic() + max(_PAUSE, _COST * (time.monotonic() - began))

    def _now_and_then(self, **changes: Any) -> None:
        self.facts = replace(self.facts, **changes)
        if self.folder.begun and time.monotonic() >= self._due:
            self.write()

    def _is_ours(self) -> bool:
        if not self.folder.page.exists():
            return True
        with disk.open_file(self.folder.page) as file:
            ours = MARK.encode() in file.read(1000)
        if not ours:
            self._warn(f"{self.folder.page} is not ours, and stays as it is: there is no page of the run")
        return ours

    def _show(self) -> None:
        if self.open_page:
            self.open_page = False
            show_page(self.folder.page)
            _log.info(f"to watch: {self.folder.page}", event="page", path=str(self.folder.page))

    def _keep(self) -> None:
        if not self._keeps:
            return self._warn(f"{self.folder.history} is damaged or not ours, and stays as it is: take it away")
        try:
            write_history(self.folder.history, self.sittings)
        except Exception as error:
            self._warn(f"the history of the run could not be written: {error}")

    def _warn(self, text: str) -> None:
        if not self._trouble:
            _log.warning(shortened(text, 300))
        self._trouble = True


def _end(error: BaseException | None) -> str:
    """How a sitting ended, in words."""
    if error is None:
        return "finished"
    if isinstance(error, Stopped | KeyboardInterrupt):
        return "stopped by a signal"
    return f"ended by an error: {shortened(str(error) or type(error).__name__, 400)}"
