"""Schedules whose signal stays as it is while the noise grows: `alpha = 1`."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule.protocol import within
from sfumato.errors import InputError


@dataclass(frozen=True)
class VE:
    """Noise from `sigma_min` to `sigma_max` over t in [0, 1], or over T whole times 0 … T−1; −1 is the clean data.

    `growth` "geometric": `sigma(t) = sigma_min·(sigma_max/sigma_min)^t`, with T the noise levels of NCSN
    (arXiv:1907.05600, section 4.2), without it the VE SDE (arXiv:2011.13456, eq. 30). "linear":
    `sigma(t) = sigma_min + t·(sigma_max − sigma_min)`. With T, t is t/(T − 1).
    """

    T: int | None = None
    sigma_min: float = 0.01
    sigma_max: float = 50.0
    growth: Literal["geometric", "linear"] = "geometric"
    clean = -1.0
    first = 0.0

    @property
    def last(self) -> float:
        return 1.0 if self.T is None else self.T - 1.0

    def __call__(self, t: Tensor) -> Level:
        if self.T is not None and not 2 <= self.T <= 1_000_000:
            raise InputError(f"a VE schedule needs T from 2 to 1,000,000, or none, not {self.T:,}")
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(f"a VE schedule needs 0 < sigma_min < sigma_max, not {self}")
        t, is_clean = within(self, t)
        share = t / self.last
        if self.growth == "geometric":
            sigma = self.sigma_min * torch.exp(share * math.log(self.sigma_max / self.sigma_min))
        else:
            sigma = self.sigma_min + share * (self.sigma_max - self.sigma_min)
        return Level(t, torch.ones_like(t), sigma.masked_fill(is_clean, 0.0))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        if self.growth == "geometric":
            share = (-λ / 2 - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)
        else:
            share = (torch.exp(-λ / 2) - self.sigma_min) / (self.sigma_max - self.sigma_min)
        return (share.clamp(0, 1) * self.last).masked_fill(λ == math.inf, self.clean)


@dataclass(frozen=True)
class EDM:
    """Time is the noise itself: `sigma(t) = t`, from `sigma_min` to `sigma_max` (EDM, arXiv:2206.00364, table 1)."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    clean = 0.0
    T = None

    @property
    def first(self) -> float:
        return self.sigma_min

    @property
    def last(self) -> float:
        return self.sigma_max

    def __call__(self, t: Tensor) -> Level:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(f"an EDM schedule needs 0 < sigma_min < sigma_max, not {self}")
        t, _ = within(self, t, gap=False)
        return Level(t, torch.ones_like(t), t)

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        return torch.exp(-λ / 2).clamp(self.first, self.last).masked_fill(λ == math.inf, self.clean)
