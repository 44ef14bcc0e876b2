"""Looking on, without touching."""

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.core.schedule import Schedule
from sfumato.denoise import DenoiserLike


class Watch:
    """Passes everything on unchanged and keeps the last estimate in `last`: what a preview shows."""

    def __init__(self, denoiser: DenoiserLike) -> None:
        self.denoiser = denoiser
        self.last: Estimate | None = None

    @property
    def schedule(self) -> Schedule:
        return self.denoiser.schedule

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.last = self.denoiser(x_t, level, condition)
        return self.last
