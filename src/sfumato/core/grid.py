"""Which levels a sampler visits.

A spacing gives `steps` times from most noise to least; `levels` turns them into levels and adds the clean end, so a
sampler that walks the grid makes `steps` moves. On a schedule of whole times the grid is whole too, each time its own.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.errors import InputError

MOST_STEPS = 100_000


@runtime_checkable
class Spacing(Protocol):
    """Schedule and number of steps → the times visited, [steps], falling."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """Evenly from the last time to the first, both visited."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return torch.linspace(schedule.last, schedule.first, steps, dtype=torch.float64)


@dataclass(frozen=True)
class Trailing:
    """Even strides from the last time down to, and not with, the clean data (arXiv:2305.08891, table 2)."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return schedule.last - _stride(schedule, steps) * torch.arange(steps, dtype=torch.float64)


@dataclass(frozen=True)
class Leading:
    """Even whole strides up from the first time, as in the code released with DDIM (arXiv:2010.02502).

    The stride is rounded down, so the walk starts below the last time: some signal is left where pure noise is assumed.
    Kept for agreement with published figures; `Trailing` and `Uniform` have no such gap.
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        stride = _stride(schedule, steps)
        if schedule.T is not None:
            stride = float(int(stride))
        return schedule.first + stride * torch.arange(steps - 1, -1, -1, dtype=torch.float64)


@dataclass(frozen=True)
class Quadratic:
    """`t_i = first + reach·(last − first)·(i/(steps − 1))²`: denser near the data (DDIM, arXiv:2010.02502, D.2).

    The code released with DDIM reaches 0.8 of the way; its CIFAR-10 figures were made so.
    """

    reach: float = 1.0

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        fraction = torch.linspace(1, 0, steps, dtype=torch.float64)
        return schedule.first + self.reach * (schedule.last - schedule.first) * fraction**2


def levels(schedule: Schedule, spacing: Spacing, steps: int) -> list[Level]:
    """The levels visited in `steps` moves: steps + 1 of them, each of shape [1], the last one clean."""
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise InputError(f"steps must be a whole number, not {steps!r}")
    schedule(torch.tensor([schedule.clean]))  # a schedule that cannot be says so itself
    most = schedule.T or MOST_STEPS
    if not 1 <= steps <= most:
        raise InputError(f"steps must be between 1 and {most:,} for this schedule, not {steps:,}")
    times = spacing(schedule, steps)
    if schedule.T is not None:
        times = _whole(times, schedule.T)
    within = times.clamp(schedule.first, schedule.last)
    if float((times - within).abs().max()) > 1e-9:
        raise InputError(
            f"{steps:,} steps of {spacing} leave the times [{schedule.first:g}, {schedule.last:g}] of this schedule:"
            " take fewer, or the uniform spacing"
        )
    visited = schedule(torch.cat([within, torch.tensor([schedule.clean], dtype=times.dtype)]))
    return [Level(*fields) for fields in zip(*(field.split(1) for field in visited), strict=True)]


def _stride(schedule: Schedule, steps: int) -> float:
    """One of `steps` equal parts of the way from the clean data to the last time."""
    return (schedule.last - schedule.clean) / steps


def _whole(times: Tensor, T: int) -> Tensor:
    """The nearest whole times in 0 … T−1 that are all different, falling."""
    place = torch.arange(len(times), dtype=torch.float64)
    rising = times.flip(0).round() - place
    rising = rising.cummax(0).values + place  # at least one above the one before
    return torch.minimum(rising, T - len(times) + place).flip(0)
