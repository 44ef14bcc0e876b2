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
class StaticThreshold(Guide):
    """Holds the estimated x_0 within [−limit, limit], as DDPM's released sampler does for pictures.

    The noise is then what is left of x_t; or, with `keep_eps`, what it was before, as some tools have it for DDIM.
    """

    denoiser: DenoiserLike
    limit: float = 1.0
    keep_eps: bool = False

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        estimate = self.denoiser(x_t, level, condition)
        x0 = estimate.x0.clamp(-self.limit, self.limit)
        x0 = torch.where(estimate.x0.isfinite(), x0, torch.nan)  # an infinity is no estimate
        return replace(estimate, x0=x0, kept=estimate.eps if self.keep_eps else estimate.kept)
