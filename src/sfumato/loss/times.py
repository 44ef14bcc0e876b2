"""The distribution of training times."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.schedule import Schedule
from sfumato.errors import InputError

MAX_HISTORY = 1000
"""How many losses of each time are remembered at most."""


@runtime_checkable
class Times(Protocol):
    """A law of training times: uniform draws u in [0, 1), [b] → times [b]; whole ones where the schedule is."""

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor: ...


@runtime_checkable
class LossAwareTimes(Protocol):
    """A distribution of times that follows the losses. Its memory is a tensor that the caller keeps."""

    def start(self, schedule: Schedule) -> Tensor:
        """The memory before the first step."""
        ...

    def draw(self, schedule: Schedule, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Times, [b], and the weights of their losses, [b], so that the mean loss is that of uniform times."""
        ...

    def remember(self, memory: Tensor, t: Tensor, losses: Tensor) -> Tensor:
        """The memory after `losses`, [n], at the times t, [n]."""
        ...


@dataclass(frozen=True)
class UniformTimes:
    """Every time as likely: the whole times 0 … T−1, or all of [first, last] where time is continuous."""

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return _at_share(schedule, u.to(torch.float64))


@dataclass(frozen=True)
class LogitNormalTimes:
    """The share of the way from first to last is `sigmoid(mean + std·z)`, z standard normal (Stable Diffusion 3,
    arXiv:2403.03206, eq. 19): the middle of the way more often than its ends."""

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return _at_share(schedule, torch.sigmoid(self.mean + _positive(self.std) * _normal(u)))


@dataclass(frozen=True)
class LogNormalTimes:
    """`log(sigma/alpha) = mean + std·z`, z standard normal (EDM, arXiv:2206.00364, table 1: P_mean and
    P_std)."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return _at_logsnr(schedule, -2 * (self.mean + _positive(self.std) * _normal(u)))


@dataclass(frozen=True)
class CosineTimes:
    """λ as the cosine schedule has it at uniform times, and `shift` added: `λ = −2·log tan(π·u/2) + shift` (simple
    diffusion, arXiv:2301.11093, section 2 and 3.1: `shift = 2·log(64/side)` for pictures of that side)."""

    shift: float = 0.0

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        u = u.to(torch.float64).clamp(1e-12, 1 - 1e-12)
        return _at_logsnr(schedule, self.shift - 2 * torch.tan(math.pi * u / 2).log())


@dataclass(frozen=True)
class ImportanceTimes:
    """Times in proportion to the root mean square of their last `history` losses, each loss divided by its probability
    (improved DDPM, arXiv:2102.09672, eq. 18): the true bound with less noise in its gradient.

    Until every time has a full history, times are uniform. A share `uniform` of the draws stays so for good.
    """

    history: int = 10
    uniform: float = 0.001

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return self.draw(schedule, u, self.start(schedule))[0]

    def start(self, schedule: Schedule) -> Tensor:
        if schedule.T is None:
            raise InputError("importance times count losses of whole times, and this schedule has none: take uniform")
        if self.history < 1 or not 0 <= self.uniform <= 1:
            raise InputError(f"importance times need history from 1 and uniform from 0 to 1, not {self}")
        if self.history > MAX_HISTORY:
            raise InputError(f"importance times remember at most {MAX_HISTORY:,} losses, not {self.history:,}")
        schedule(torch.zeros(1))  # a T that cannot be is an error
        return torch.full((schedule.T, self.history), torch.nan, dtype=torch.float64)

    def draw(self, schedule: Schedule, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        T = len(memory)
        share = torch.full((T,), 1 / T, dtype=torch.float64)
        if not bool(memory.isnan().any()):
            size = (memory**2).mean(1).sqrt().clamp(min=1e-300)
            share = (1 - self.uniform) * size / size.sum() + self.uniform / T
        t = torch.searchsorted(share.cumsum(0), u.to(torch.float64), right=True).clamp(max=T - 1)
        return t.to(torch.float64), 1 / (T * share[t])

    def remember(self, memory: Tensor, t: Tensor, losses: Tensor) -> Tensor:
        memory = memory.clone()
        for place, loss in zip(t.long().tolist(), losses.tolist(), strict=True):
            memory[place] = torch.cat([memory[place, 1:], torch.tensor([loss], dtype=memory.dtype)])
        return memory


def _normal(u: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones."""
    return torch.special.ndtri(u.to(torch.float64).clamp(1e-12, 1 - 1e-12))


def _at_share(schedule: Schedule, share: Tensor) -> Tensor:
    """The times at a share, in [0, 1), of the way from the first to the last."""
    if schedule.T is not None:
        return (share * schedule.T).floor().clamp(max=schedule.T - 1)
    return schedule.first + share * (schedule.last - schedule.first)


def _at_logsnr(schedule: Schedule, logsnr: Tensor) -> Tensor:
    t = schedule.inverse(logsnr)
    return t.round() if schedule.T is not None else t


def _positive(std: float) -> float:
    if not std > 0:
        raise InputError(f"the std of a law of times must be above 0, not {std}")
    return std
