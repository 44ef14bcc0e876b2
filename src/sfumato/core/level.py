"""A noise level: how much signal and how much noise a sample has."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """`x_t = alpha·x_0 + sigma·eps`, one level per sample.

    Each field is a float64 tensor of shape [b] (or [1], which stands for every sample of a batch), on the CPU: levels
    are small, and their differences are where precision is lost first. `like` carries them to the samples.

    - `t`: time in the unit that the network was trained on;
    - `alpha`: how much of the signal is left, in [0, 1];
    - `sigma`: the standard deviation of the noise, at least 0.
    """

    t: Tensor
    alpha: Tensor
    sigma: Tensor

    @property
    def logsnr(self) -> Tensor:
        """`λ = log(alpha² / sigma²)`, the log signal-to-noise ratio: +∞ for clean data, −∞ for pure noise."""
        return 2 * (self.alpha.log() - self.sigma.log())


def logsnr_change(now: Level, then: Level) -> Tensor:
    """`λ_s − λ_t` from the level `now` to `then`, [b] or [1]: +∞ from pure noise, wherever it leads.

    Far up in noise float64 holds alpha as 0 at one level after another; x_t is independent of x_s there too.
    """
    return torch.where(now.alpha == 0, math.inf, then.logsnr - now.logsnr)


def like(value: Tensor, x: Tensor) -> Tensor:
    """A number per sample, [b] or [1], shaped and typed to multiply samples `x`, [b, *d]."""
    return value.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))
