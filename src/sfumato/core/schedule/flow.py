"""Rectified flow: straight lines between data and noise."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.schedule.protocol import within
from sfumato.errors import InputError


@dataclass(frozen=True)
class Flow:
    """`x_t = (1 − sigma)·x_0 + sigma·eps` with `sigma = shift·t/(1 + (shift − 1)·t)`, t in [0, 1].

    Without shift, sigma is t (rectified flow, arXiv:2209.03003, eq. 1; flow matching's optimal transport,
    arXiv:2210.02747, section 4.1). A `shift` above 1 spends more of the time at high noise, as large pictures want
    (Stable Diffusion 3, arXiv:2403.03206, eq. 23). Ends in pure noise: alpha 0 at t = 1.
    """

    shift: float = 1.0
    first: float = 1e-3
    clean = 0.0
    last = 1.0
    T = None

    def __call__(self, t: Tensor) -> Level:
        if not (0 < self.shift < math.inf and 0 < self.first < 1):
            raise InputError(f"a flow schedule needs shift > 0 and 0 < first < 1, not {self}")
        t, _ = within(self, t, gap=False)
        bottom = 1 + (self.shift - 1) * t
        return Level(t, (1 - t) / bottom, self.shift * t / bottom)

    def inverse(self, logsnr: Tensor) -> Tensor:
        λ = logsnr.to("cpu", torch.float64).reshape(-1)
        # sigma/alpha = shift·t/(1 − t), so t is a sigmoid of its logarithm
        t = torch.sigmoid(-λ / 2 - math.log(self.shift)).clamp(min=self.first)
        return t.masked_fill(λ == math.inf, self.clean)
