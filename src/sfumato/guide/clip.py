"""Keeping the estimate where data can be."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.denoise import DenoiserLike
from sfumato.guide.base import Guide


@dataclass(frozen=True)
class Clip(Guide):
    """Holds the estimated x_0 within [−limit, limit], as DDPM's released sampler does for pictures."""

    denoiser: DenoiserLike
    limit: float = 1.0

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        estimate = self.denoiser(x_t, level, condition)
        x0 = estimate.x0.clamp(-self.limit, self.limit)
        return replace(estimate, x0=torch.where(estimate.x0.isfinite(), x0, torch.nan))  # an infinity is no estimate
