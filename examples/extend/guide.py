"""A guide: a denoiser around a denoiser, which changes what it believes."""

from dataclasses import dataclass, replace

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.denoise import DenoiserLike
from sfumato.guide import Guide


@dataclass(frozen=True)
class Brightness(Guide):
    """`x_0 ← x_0 + share·(mean − mean(x_0))`: pulls the mean of every sample towards `mean`."""

    denoiser: DenoiserLike
    mean: float
    share: float = 0.1

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        estimate = self.denoiser(x_t, level, condition)
        lack = self.mean - estimate.x0.flatten(1).mean(1)
        return replace(estimate, x0=estimate.x0 + self.share * lack.reshape(-1, *[1] * (x_t.ndim - 1)))
