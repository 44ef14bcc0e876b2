"""A guide that only looks on."""

from typing import Generic

from torch import Tensor

from sfumato.core.condition import Condition
from sfumato.core.level import Level
from sfumato.denoise import DenoiserOf
from sfumato.guide.base import E, Guide


class Watch(Guide, Generic[E]):
    """Passes everything on unchanged and keeps the last estimate in `last`, for previews."""

    def __init__(self, denoiser: DenoiserOf[E]) -> None:
        self.denoiser = denoiser
        self.last: E | None = None

    def __call__(self, x_t: Tensor, level: Level, condition: Condition = Condition()) -> E:
        estimate = self.last = self.denoiser(x_t, level, condition)
        return estimate
