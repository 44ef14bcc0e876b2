"""Autoguidance."""

from dataclasses import dataclass
from typing import Generic

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.denoise import DenoiserOf
from sfumato.errors import InputError
from sfumato.guide.base import AnyEstimate, Guide


@dataclass(frozen=True)
class Autoguidance(Guide, Generic[AnyEstimate]):
    """`x_0 = x_0(weak) + scale·(x_0 − x_0(weak))`: away from the faults of a worse model (arXiv:2406.02507, eq. 3).

    - `denoiser`: the model, of numbers or of tokens;
    - `weak`: the same model, smaller or trained for less, on the same schedule, else an `InputError`; both receive the
      condition;
    - `scale`: 1 is off, and does not evaluate it.
    """

    denoiser: DenoiserOf[AnyEstimate]
    weak: DenoiserOf[AnyEstimate]
    scale: float

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> AnyEstimate:
        estimate = self.denoiser(x_t, level, condition)
        if self.scale == 1:
            return estimate
        if self.weak.schedule != self.schedule:
            raise InputError(
                f"the weak model must stand on the schedule of the other, {self.schedule}, and not on"
                f" {self.weak.schedule}: train it as the other was, for less long or smaller"
            )
        weak = self.weak(x_t, level, condition).prediction
        return estimate.predicting(x_t, level, estimate.extrapolate(weak, estimate.prediction, self.scale))
