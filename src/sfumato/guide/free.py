"""Classifier-free guidance."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike


@dataclass(frozen=True)
class ClassifierFree:
    """`x_0 = x_0(null) + scale·(x_0(condition) − x_0(null))` (arXiv:2207.12598, eq. 6, with scale = 1 + w).

    The same line holds in every view (eps, v, score), since x_t is shared. `null` is the empty condition, one for the
    batch. Both are asked in one call; scale 1 is off, and asks once.
    """

    denoiser: DenoiserLike
    null: Condition
    scale: float

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        if self.scale == 1:
            return self.denoiser(x_t, level, condition)
        both = Level(*(torch.cat([value.expand(len(x_t))] * 2) for value in level))
        double = self.denoiser(torch.cat([x_t, x_t]), both, Condition.cat([condition, self.null]))
        asked, empty = double.x0.chunk(2)
        return replace(double, x_t=x_t, level=level, x0=empty + self.scale * (asked - empty))
