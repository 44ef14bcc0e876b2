"""Schedules of score SDEs that start from data of unit variance and end in noise of unit variance."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sfumato.core.level import Level
from sfumato.core.schedule.protocol import preserving, within
from sfumato.errors import InputError


@dataclass(frozen=True)
class VP:
    """The variance-preserving SDE with `beta(t) = beta_min + t·(beta_max − beta_min)`, t in [0, 1].

    `−log alpha_t² = t·beta_min + ½t²·(beta_max − beta_min)` (score SDE, arXiv:2011.13456, eq. 29 and 33). Networks are
    asked from `first` on, since λ has no bound at 0.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    first: float = 1e-3
    clean = 0.0
    last = 1.0
    T = None

    def __call__(self, t: Tensor) -> Level:
        t, decay = self._decay(t)
        return preserving(t, -decay - torch.log(-torch.expm1(-decay)))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        return self._time(softplus(-λ)).masked_fill(λ == math.inf, self.clean)

    def _decay(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The times, and `−log alpha_t²` there."""
        if not (0 <= self.beta_min <= self.beta_max < math.inf and self.beta_max > 0 and 0 < self.first < 1):
            raise InputError(f"a VP schedule needs 0 ≤ beta_min ≤ beta_max, beta_max > 0 and 0 < first < 1, not {self}")
        t, _ = within(self, t, gap=False)
        return t, t * self.beta_min + t**2 * (self.beta_max - self.beta_min) / 2

    def _time(self, decay: Tensor) -> Tensor:
        """The time of a decay, by the quadratic formula in its form without cancellation."""
        decay = decay.clamp(max=(self.beta_min + self.beta_max) / 2)  # of the last time: infinity has no root
        root = (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * decay).sqrt()
        return (2 * decay / (self.beta_min + root)).clamp(self.first, self.last)


@dataclass(frozen=True)
class SubVP(VP):
    """The sub-VP SDE: the signal of `VP`, and less noise: `sigma_t = 1 − alpha_t²` (arXiv:2011.13456, eq. 29)."""

    def __call__(self, t: Tensor) -> Level:
        t, decay = self._decay(t)
        return Level(t, torch.exp(-decay / 2), -torch.expm1(-decay))

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        # sigma/alpha = 1/alpha − alpha = 2·sinh(decay/2)
        return self._time(2 * torch.asinh(torch.exp(-λ / 2) / 2)).masked_fill(λ == math.inf, self.clean)
