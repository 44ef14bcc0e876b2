"""A noise level: where on the way from data to noise a sample stands."""

from typing import NamedTuple

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


def like(value: Tensor, x: Tensor) -> Tensor:
    """A number per sample, [b] or [1], shaped and typed to multiply samples `x`, [b, *d]."""
    return value.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))
