"""A guide that only looks on."""

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.estimate import Estimate
from sfumato.core.level import Level
from sfumato.denoise import DenoiserLike
from sfumato.guide.base import Guide


class Watch(Guide):
    """Passes everything on unchanged and keeps the last estimate in `last`, for previews."""

    def __init__(self, denoiser: DenoiserLike) -> None:
        self.denoiser = denoiser
        self.last: Estimate | None = None

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> Estimate:
        self.last = self.denoiser(x_t, level, condition)
        return self.last
