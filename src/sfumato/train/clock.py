"""How the time of a sitting is spent."""

import time

from sfumato.train.plan import Budget

LATE, LATE_FIRST = 1.1, 1.5
"""A preview that was thought to be within the minutes is given up beyond so much of them; one without which a run would
have none, beyond so much."""


class Clock:
    """Counts from when it is made. `saving` and `drawing` are how many seconds a save and a preview take, as far as is
    known: the last of each are within the minutes as well."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.saving = self.drawing = 0.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def spent(self, budget: Budget) -> bool:
        """Whether to make no more steps."""
        return budget.minutes is not None and self.elapsed >= 60 * budget.minutes - self._ending(budget)

    def late(self, budget: Budget, first: bool = False) -> bool:
        """Whether to give up the last preview, which may be the first as well."""
        most = LATE_FIRST if first else LATE
        return budget.minutes is not None and self.elapsed >= most * 60 * budget.minutes + 2

    def left(self, budget: Budget, made: float) -> tuple[float, float]:
        """The seconds that are left, and the share that is done, once this share of the steps is `made`."""
        elapsed, ending = self.elapsed, self._ending(budget)
        if budget.minutes is not None:
            made = max(made, elapsed / max(60 * budget.minutes - ending, 1e-9))
        share = min(made, 1.0)
        return elapsed * (1 / max(share, 1e-9) - 1) + ending, share

    def _ending(self, budget: Budget) -> float:
        """How long the last save and the last preview will take; of minutes that are given, half at most."""
        seconds = self.saving + 1.2 * self.drawing
        return seconds if budget.minutes is None else min(seconds, 30 * budget.minutes)
