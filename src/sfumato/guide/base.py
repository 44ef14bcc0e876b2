"""The base of all guides."""

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike


class Guide:
    """A denoiser around `denoiser`, on the schedule of that one; so guides stack, and the outer has the last word."""

    denoiser: DenoiserLike

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        raise NotImplementedError
