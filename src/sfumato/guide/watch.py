"""A guide that only looks on."""

from typing import Generic

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.denoise import DenoiserOf
from sfumato.guide.base import AnyEstimate, Guide


class Watch(Guide, Generic[AnyEstimate]):
    """Passes everything on unchanged and keeps the last estimate in `last`, for previews."""

    def __init__(self, denoiser: DenoiserOf[AnyEstimate]) -> None:
        self.denoiser = denoiser
        self.last: AnyEstimate | None = None

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> AnyEstimate:
        estimate = self.last = self.denoiser(x_t, level, condition)
        return estimate
