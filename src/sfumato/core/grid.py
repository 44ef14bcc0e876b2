"""The noise levels of a trajectory.

A spacing gives `steps` times from most noise to least; `levels` turns them into levels and adds the clean end, so that
a trajectory has `steps` sampling steps. On a schedule of whole times the times are whole too, no two alike.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule import Schedule, at
from sfumato.errors import InputError

MAX_GRID_STEPS = 100_000


@runtime_checkable
class Spacing(Protocol):
    """Schedule and number of steps → the times visited, [steps], falling."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor: ...


@runtime_checkable
class LevelSpacing(Protocol):
    """A spacing of levels, not of times: where the time input of the network is not the time of the level, or the
    trajectory starts or ends in another way.

    `initial_std` "marginal" is the standard deviation of x_t for data of unit variance; "sigma" is that of its noise
    alone.
    """

    @property
    def initial_std(self) -> Literal["marginal", "sigma"]: ...

    def levels(self, schedule: Schedule, steps: int) -> list[Level]:
        """Schedule and number of steps → steps + 1 levels, of shape [1] each."""
        ...


@dataclass(frozen=True)
class UniformSpacing:
    """Evenly from the last time to the first, both visited."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return torch.linspace(schedule.last, schedule.first, steps, dtype=torch.float64)


@dataclass(frozen=True)
class TrailingSpacing:
    """Even strides from the last time down to, and not with, the clean data (arXiv:2305.08891, table 2).

    Where continuous time begins at a gap from the clean data, as that of `VE` does, they lead down to its beginning.
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return schedule.last - _stride(schedule, steps) * torch.arange(steps, dtype=torch.float64)


@dataclass(frozen=True)
class LeadingSpacing:
    """Even strides up from the first time, whole ones on a table: `⌊T/steps⌋` (diffusers' "leading").

    The stride is rounded down, so the trajectory starts below the last time: some signal is left where pure noise is
    assumed. Kept for agreement with published figures; `TrailingSpacing` and `UniformSpacing` have no such gap. Where
    steps divide T it is the code released with DDIM (arXiv:2010.02502). Where they do not, that code goes on for as
    many strides as there are below T, 31 for 30 steps of 1,000: `ExplicitSpacing(tuple(range(0, T, T //
    steps))[::-1])`.
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        stride = _stride(schedule, steps)
        if schedule.T is not None:
            stride = float(int(stride))
        return schedule.first + stride * torch.arange(steps - 1, -1, -1, dtype=torch.float64)


@dataclass(frozen=True)
class QuadraticSpacing:
    """`t_i = first + reach·(last − first)·(i/(steps − 1))²`: denser near the data (DDIM, arXiv:2010.02502,
    appendix D.2).

    The code released with DDIM, by which its CIFAR-10 figures were made, takes `⌊(i·√(0.8·T)/(steps − 1))²⌋`. A `reach`
    of 0.8 comes within one time of that: the last is 0.8·(T − 1), and all are rounded to the nearest. `ExplicitSpacing`
    gives theirs, where theirs are all different.
    """

    reach: float = 1.0

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        fraction = torch.linspace(1, 0, steps, dtype=torch.float64)
        return schedule.first + self.reach * (schedule.last - schedule.first) * fraction**2


@dataclass(frozen=True)
class KarrasSpacing:
    """`σ_i = (σ_max^(1/rho) + i/(steps − 1)·(σ_min^(1/rho) − σ_max^(1/rho)))^rho`, `σ = sigma/alpha`, between the ends
    of the schedule (EDM, arXiv:2206.00364, eq. 5; k-diffusion's `get_sigmas_karras`). A higher `rho` goes in smaller
    strides near the data. `sigma_max` is a lower `σ_max` than the schedule's: it has to be given where that is
    infinite, at pure noise."""

    rho: float = 7.0
    sigma_max: float | None = None

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        if not self.rho > 0:
            raise InputError(f"rho must be above 0, not {self.rho}")
        ends = torch.tensor(_log_noise_ends(schedule, self), dtype=torch.float64)
        high, low = torch.exp(ends / self.rho).tolist()
        return _at_log_noise(schedule, torch.linspace(high, low, steps, dtype=torch.float64).log() * self.rho)


@dataclass(frozen=True)
class LogSNRSpacing:
    """Evenly in λ, the log signal-to-noise ratio (DPM-Solver, arXiv:2206.00927, section 3.4), from `sigma_max` as in
    `KarrasSpacing`."""

    sigma_max: float | None = None

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return _at_log_noise(schedule, torch.linspace(*_log_noise_ends(schedule, self), steps, dtype=torch.float64))


@dataclass(frozen=True)
class AYSSpacing:
    """The published step schedules of Align Your Steps (arXiv:2404.14507), for ten steps of the three models there.

    Other numbers of steps follow by interpolating `log(sigma/alpha)`, as its authors do. A schedule that ends in less
    noise than the second of these cannot be met.
    """

    model: Literal["sd15", "sdxl", "svd"] = "sd15"

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        known = torch.tensor(AYS_NOISE[self.model], dtype=torch.float64).log()
        place = torch.arange(steps, dtype=torch.float64) * (len(known) - 1) / steps
        below = place.floor().long()
        return _at_log_noise(schedule, torch.lerp(known[below], known[below + 1], place - below))


AYS_NOISE = {
    "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""`sigma/alpha` at the ends of ten steps, as published with the paper; the last of each is where data begins."""


@dataclass(frozen=True)
class ExplicitSpacing:
    """The `times` themselves, from most noise to least: as many as there are steps."""

    times: tuple[float, ...]

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        if len(self.times) != steps:
            raise InputError(
                f"the spacing gives {len(self.times):,} times, and {steps:,} steps were asked for: ask for"
                " as many steps as times"
            )
        return torch.tensor(self.times, dtype=torch.float64)


def levels(schedule: Schedule, spacing: Spacing, steps: int) -> list[Level]:
    """The levels of a trajectory of `steps` steps: steps + 1 of them, each of shape [1], the last one clean.

    A number of steps that is not whole, below 1 or beyond the times of the schedule, and times of a spacing that leave
    the schedule or do not fall, are an `InputError`."""
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise InputError(f"steps must be a whole number, not {steps!r}")
    at(schedule, schedule.clean)  # a schedule with impossible arguments raises here
    most = schedule.T or MAX_GRID_STEPS
    if not 1 <= steps <= most:
        raise InputError(f"steps must be between 1 and {most:,} for this schedule, not {steps:,}")
    if isinstance(spacing, LevelSpacing):
        return spacing.levels(schedule, steps)
    times = spacing(schedule, steps)
    _check_falling(times, spacing)
    within = times.clamp(schedule.first, schedule.last)
    slack = 1e-9 if schedule.T is None else 0.5  # for rounding errors, and for fractions that round to a whole time
    if not float((times - within).abs().max()) <= slack:
        raise InputError(
            f"{steps:,} steps of {_name(spacing)} leave the times [{schedule.first:g}, {schedule.last:g}] of this"
            " schedule: take fewer, or the uniform spacing"
        )
    if schedule.T is not None:
        within = _whole(within, schedule.T)
    visited = schedule(torch.cat([within, torch.tensor([schedule.clean], dtype=times.dtype)]))
    return [Level(*fields) for fields in zip(*(field.split(1) for field in visited), strict=True)]


def initial_std(spacing: Spacing, first: Level) -> float:
    """The standard deviation of the noise from which a trajectory from the level `first` starts."""
    if isinstance(spacing, LevelSpacing) and spacing.initial_std == "sigma":
        return float(first.sigma)
    return float((first.alpha**2 + first.sigma**2).sqrt())


def _stride(schedule: Schedule, steps: int) -> float:
    """One of `steps` equal parts of the way from the clean data, or from where continuous time begins, to the last."""
    apart = schedule.T is None and schedule.clean < 0
    return (schedule.last - (schedule.first if apart else schedule.clean)) / steps


def _whole(times: Tensor, T: int) -> Tensor:
    """The nearest whole times in 0 … T−1 that are all different, falling."""
    place = torch.arange(len(times), dtype=torch.float64)
    rising = times.flip(0).round() - place
    rising = rising.cummax(0).values + place  # at least one above the one before
    return torch.minimum(rising, T - len(times) + place).flip(0)


def _log_noise_ends(schedule: Schedule, spacing: KarrasSpacing | LogSNRSpacing) -> tuple[float, float]:
    """`log(sigma/alpha)` at the last time, or at the `sigma_max` of the spacing, and at the first."""
    last, first = at(schedule, schedule.last, schedule.first).logsnr.tolist()
    name = type(spacing).__name__.removesuffix("Spacing").lower()
    if (most := spacing.sigma_max) is not None:
        low, high = math.exp(-first / 2), math.exp(-last / 2)
        if not (low < most <= high * (1 + 1e-9) and most < math.inf):
            raise InputError(
                f"the sigma_max of the spacing {name} must be above {low:.4g} and at most {high:.4g}, the levels"
                f" sigma/alpha of this schedule, and finite; not {most:g}"
            )
        return min(math.log(most), -last / 2), -first / 2
    if last == -math.inf:
        raise InputError(
            f"the spacing {name} goes between two levels sigma/alpha, and this schedule begins at pure noise, where it"
            f" is infinite: take the spacing {name},sigma_max=80, or trailing, uniform or quadratic"
        )
    return -last / 2, -first / 2


def _at_log_noise(schedule: Schedule, log_noise: Tensor) -> Tensor:
    """The times at which `log(sigma/alpha)` is `log_noise`."""
    return schedule.inverse(-2 * log_noise)


def _check_falling(times: Tensor, spacing: Spacing) -> None:
    """Raise an `InputError` for times that repeat, rise or are no numbers."""
    if bad := torch.nonzero(~(times.diff() < 0)).flatten().tolist():
        now, then = times[bad[0]].item(), times[bad[0] + 1].item()
        raise InputError(
            f"the times of a grid must fall from step to step: {_name(spacing)} goes from {now:g} to {then:g} at step"
            f" {bad[0] + 1} of {len(times)}; take fewer steps, or another spacing"
        )


def _name(spacing: Spacing) -> str:
    """The spacing in a word, for errors: times given in full would fill the screen."""
    text = repr(spacing)
    return text if len(text) <= 120 else type(spacing).__name__
