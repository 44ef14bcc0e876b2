"""The protocol of a schedule, and functions that all schedules share."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.errors import InputError, quoted


@runtime_checkable
class Schedule(Protocol):
    """A noise schedule: times → levels.

    `clean` is the time of the data itself (no noise); below 0 it is a mark, and no time leads up to it. `first` and
    `last` bound the times a network is asked about, from least noise to most. `T` counts them when only whole times
    were trained, and is None when time is continuous.
    """

    @property
    def T(self) -> int | None: ...
    @property
    def clean(self) -> float: ...
    @property
    def first(self) -> float: ...
    @property
    def last(self) -> float: ...

    def __call__(self, t: Tensor) -> Level:
        """The levels at times `t`, [b]. A time outside the schedule is an `InputError`."""
        ...

    def inverse(self, logsnr: Tensor) -> Tensor:
        """The times, [b], at which the log signal-to-noise ratio is `logsnr`, [b]; held within first and last."""
        ...


def preserving(t: Tensor, logsnr: Tensor) -> Level:
    """The variance-preserving level with `alpha² = sigmoid(λ)`, `sigma² = sigmoid(−λ)`; shapes [b].

    Working in λ keeps full precision at both ends, where `1 − alpha²` would lose it.
    """
    return Level(t, root_sigmoid(logsnr), root_sigmoid(-logsnr))


def root_sigmoid(logsnr: Tensor) -> Tensor:
    """`√sigmoid(λ)`. Below λ = −700 that is `exp(λ/2)`, to the last bit, while the sigmoid itself underflows."""
    return torch.where(logsnr < -700, torch.exp(logsnr / 2), logsnr.sigmoid().sqrt())


def at(schedule: Schedule, *times: float) -> Level:
    """The levels at `times`, [b], each as it is: torch's own type for numbers would round it to float32."""
    return schedule(torch.tensor(times, dtype=torch.float64, device="cpu"))


def within(schedule: Schedule, t: Tensor, gap: bool = True) -> tuple[Tensor, Tensor]:
    """Times as float64 on the CPU, and which of them are clean. A time outside the schedule is an `InputError`.

    With a `gap` there is nothing between the clean time and the first: λ has no bound there. Without, every time
    between the two is a time too. The first and the last as a lower precision rounds them are the first and the last.
    """
    t = _exact_ends(schedule, t)
    is_clean = t == schedule.clean
    low = schedule.first if gap else schedule.clean
    if bool(((t < low) & ~is_clean | (t > schedule.last) | t.isnan()).any()):
        clean = f" or be {schedule.clean:g} (clean data)" if gap else ""
        raise InputError(f"time must lie in [{low:g}, {schedule.last:g}]{clean}, not {quoted(t.tolist())}")
    return t, is_clean


def _exact_ends(schedule: Schedule, t: Tensor) -> Tensor:
    """Times as float64 on the CPU; an end of the schedule that came rounded to the type of `t`, whole again."""
    exact = t.to("cpu", torch.float64)
    if t.is_floating_point():
        for end in (schedule.first, schedule.last):
            exact = exact.masked_fill(exact == torch.tensor(end, dtype=t.dtype, device="cpu").item(), end)
    return exact
