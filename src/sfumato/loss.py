"""The training objective: how far an estimate is from the truth, and at which times it is asked."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import like
from sfumato.core.schedule import Schedule


@runtime_checkable
class Loss(Protocol):
    """The estimate at x_t = alpha·x_0 + sigma·eps, and the x_0 and eps that were used → a loss per sample, [b]."""

    def __call__(self, estimate: Estimate, x_0: Tensor, eps: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Simple:
    """`L_simple = |eps − eps_θ(x_t, t)|²`, the mean over elements (DDPM, arXiv:2006.11239, eq. 14).

    Or the same distance in another `view` of the estimate. Where variance is preserved, that is L_simple weighted: by
    1/SNR for "x0", by 1 + 1/SNR = 1/alpha² for "v" (arXiv:2202.00512, section 4), which cares more for high noise.
    """

    view: Literal["eps", "x0", "v"] = "eps"

    def __call__(self, estimate: Estimate, x_0: Tensor, eps: Tensor) -> Tensor:
        if self.view == "eps":
            truth = eps
        elif self.view == "x0":
            truth = x_0
        else:
            truth = like(estimate.level.alpha, x_0) * eps - like(estimate.level.sigma, x_0) * x_0
        return ((truth - getattr(estimate, self.view)) ** 2).flatten(1).mean(1)


@runtime_checkable
class Times(Protocol):
    """A law of training times: uniform draws u in [0, 1), [b] → times [b]."""

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class UniformTimes:
    """Every time as likely: the whole times 0 … T−1, or all of [first, last] where time is continuous."""

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        u = u.to(torch.float64)
        if schedule.T is not None:
            return (u * schedule.T).floor()
        return schedule.first + u * (schedule.last - schedule.first)
