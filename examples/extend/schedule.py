"""A schedule: from times to levels, and back."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule.protocol import within


@dataclass(frozen=True)
class Trigonometric:
    """`alpha = cos(πt/2)`, `sigma = sin(πt/2)`, t in [0, 1]: v is then the derivative of x_t by the angle.

    Ends in pure noise: alpha 0 at t = 1.
    """

    first: float = 1e-3
    clean = 0.0
    last = 1.0
    T = None

    def __call__(self, t: Tensor) -> Level:
        t, _ = within(self, t, gap=False)  # float64; a time outside of the schedule is an error
        return Level(t, torch.sin(math.pi / 2 * (1 - t)), torch.sin(math.pi / 2 * t))

    def inverse(self, logsnr: Tensor) -> Tensor:
        t = torch.atan(torch.exp(-logsnr / 2)) / (math.pi / 2)  # tan(πt/2) = sigma/alpha
        return t.clamp(min=self.first).masked_fill(logsnr == math.inf, self.clean)
