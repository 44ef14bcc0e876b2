"""What a network predicts, as four coefficients.

A parameterization turns the network's raw output F into an estimate of the data:

    x_0 = skip·x_t + out·F(scale·x_t, time)

Nothing else in the house asks what a network predicts.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.process import posterior_weights
from sfumato.core.schedule import Schedule


class Coefficients(NamedTuple):
    """`x_0 = skip·x_t + out·F(scale·x_t, time)`; each [b] or [1]."""

    skip: Tensor
    out: Tensor
    scale: Tensor
    time: Tensor


@runtime_checkable
class Parameterization(Protocol):
    """Level → the four coefficients."""

    def __call__(self, level: Level) -> Coefficients: ...


@dataclass(frozen=True)
class Eps:
    """The network predicts the noise: `x_0 = (x_t − sigma·F)/alpha` (DDPM, arXiv:2006.11239, eq. 11)."""

    def __call__(self, level: Level) -> Coefficients:
        return Coefficients(1 / level.alpha, -level.sigma / level.alpha, torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class X0:
    """The network predicts the data: `x_0 = F`."""

    def __call__(self, level: Level) -> Coefficients:
        return Coefficients(torch.zeros_like(level.t), torch.ones_like(level.t), torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class V:
    """The network predicts `v = alpha·eps − sigma·x_0` (progressive distillation, arXiv:2202.00512, appendix D).

    `x_0 = (alpha·x_t − sigma·F)/(alpha² + sigma²)`; the denominator is 1 when the schedule preserves variance.
    """

    def __call__(self, level: Level) -> Coefficients:
        power = level.alpha**2 + level.sigma**2
        return Coefficients(level.alpha / power, -level.sigma / power, torch.ones_like(level.t), level.t)


@dataclass(frozen=True)
class Mean:
    """The network predicts the mean of `q(x_s | x_t, x_0)`, with s one `step` of the chain before t (DDPM, eq. 8).

    `F = a·x_0 + b·x_t`, with the weights of the posterior mean, so `x_0 = (F − b·x_t)/a`. The mean belongs to a chain:
    hence its `schedule`.
    """

    schedule: Schedule
    step: float = 1.0

    def __call__(self, level: Level) -> Coefficients:
        s = level.t - self.step
        before = self.schedule(torch.where(s < self.schedule.first, self.schedule.clean, s))
        of_x_0, of_x_t = posterior_weights(before, level)
        return Coefficients(-of_x_t / of_x_0, 1 / of_x_0, torch.ones_like(level.t), level.t)
