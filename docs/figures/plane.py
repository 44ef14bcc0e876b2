"""Data in the plane whose distribution is known, for pictures of samples and of their paths."""

import torch
from torch import Tensor

from sfumato.core.level import Level
from sfumato.core.noise import Noise
from sfumato.core.schedule import Schedule
from sfumato.oracle import MixtureDenoiser


def ring(schedule: Schedule, k: int = 5, radius: float = 1.25, std: float = 0.16) -> MixtureDenoiser:
    """`k` equal bumps on a circle, of about unit variance in all."""
    angle = torch.arange(k, dtype=torch.float64) * 2 * torch.pi / k + torch.pi / 2
    means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    return MixtureDenoiser(schedule, torch.full((k,), 1 / k).double(), means, torch.full((k,), std).double())


def density(mixture: MixtureDenoiser, level: Level, top: float, n: int = 160) -> Tensor:
    """The density of x_t on the square from −top to top: [n, n], the second axis of the plane first."""
    place = torch.linspace(-top, top, n, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(place, place, indexing="xy"), -1)[:, :, None]
    var = (level.alpha * mixture.stds) ** 2 + level.sigma**2
    gap = ((x - level.alpha * mixture.means) ** 2).sum(-1)
    return (mixture.weights * torch.exp(-gap / (2 * var)) / (2 * torch.pi * var)).sum(-1)


def clean(schedule: Schedule) -> Level:
    return schedule(torch.tensor([schedule.clean]))


def start(n: int, seed: int = 0) -> Tensor:
    """The first noise of n samples in the plane, float64 [n, 2]."""
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Stream(Noise):
    """Noise for all samples from one stream: quick, where it does not matter whose is which."""

    def __init__(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed)

    def like(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=self.stream, dtype=x.dtype)
