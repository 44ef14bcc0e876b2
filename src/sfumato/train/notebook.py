"""What a notebook shows of a training while it runs."""

from types import TracebackType

from sfumato.notebook import NotebookBar
from sfumato.train.monitor import Quiet, step_line
from sfumato.train.plan import TrainingPlan


class Notebook(Quiet):
    """The plan, then a bar below the cell."""

    def __init__(self) -> None:
        self._bar, self._plural = NotebookBar(), "data"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def preparing(self, done: int, total: int, what: str = "reading data") -> None:
        self._bar.show(done / max(total, 1), f"{what}: {done:,} of {total:,}")

    def plan(self, plan: TrainingPlan) -> None:
        self._plural = plan.plural
        print("\n".join(f"{heading:<8} {text}" for heading, text in plan.lines()))

    def step(self, step: int, loss: float, rate: float, left: float, share: float) -> None:
        self._bar.show(share, step_line(step, loss, rate, left, self._plural))
