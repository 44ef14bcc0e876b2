"""The denoising loss."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from sfumato.core.estimate import Estimate
from sfumato.core.level import like
from sfumato.core.schedule import Schedule
from sfumato.loss.weight import UnitWeight, Weight


@runtime_checkable
class Loss(Protocol):
    """The estimate at `x_t = alpha·x_0 + sigma·eps`, the x_0 behind it, and the schedule → a loss per sample, [b]."""

    def __call__(self, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor: ...


@dataclass(frozen=True)
class Denoising:
    """`weight·|x_0 − x_0(x_t)|²`, the mean over elements.

    As it stands, L_simple: `|eps − eps(x_t)|²` (DDPM, arXiv:2006.11239, eq. 14). The loss does not depend on what the
    network predicts; the weight alone decides which levels count for how much.
    """

    weight: Weight = UnitWeight("eps")

    def __call__(self, estimate: Estimate, x_0: Tensor, schedule: Schedule) -> Tensor:
        # the root of the weight goes in before the square: at either end the weight alone would overflow float32
        error = like(self.weight(estimate.level).sqrt(), x_0) * (estimate.x0 - x_0)
        return (error**2).flatten(1).mean(1)
