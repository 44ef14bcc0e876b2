"""Times and places as vectors."""

import math

import torch
from torch import Tensor, nn


def sinusoidal(
    t: Tensor, width: int, longest: float = 10_000.0, cosine_first: bool = False, frequency_shift: float = 1.0
) -> Tensor:
    """Sines and cosines of times `t`, [b], at `width/2` geometric frequencies from 1 to 1/longest: float32 [b, width].

    `[sin(t·f_i), cos(t·f_i)]`, `f_i = longest^(−i/(width/2 − frequency_shift))` (Transformer, arXiv:1706.03762, section
    3.5). The code released with DDPM has this shift of 1; that of ADM, latent diffusion, DiT and SiT has none, ends
    before 1/longest, and puts the cosines first. An odd width ends in a zero.
    """
    half = width // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    steps = half - frequency_shift if half > frequency_shift else 1
    angle = t.float()[:, None] * torch.exp(-math.log(longest) * i / steps)
    sinusoids = [angle.cos(), angle.sin()] if cosine_first else [angle.sin(), angle.cos()]
    return nn.functional.pad(torch.cat(sinusoids, dim=1), (0, width % 2))


def scaled_sinusoids(side: int, number: int, base_size: int) -> Tensor:
    """Sines and cosines of `side` places between 0 and base_size: float32 [side, 2·number], computed in float64 on the
    CPU, since not all devices have it."""
    place = torch.arange(side, dtype=torch.float64, device="cpu") * (base_size / side)
    i = torch.arange(number, dtype=torch.float64, device="cpu")
    angle = place[:, None] * torch.exp(-math.log(10_000.0) * i / number)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


class Perceptron(nn.Module):
    """Two linear layers with a SiLU between them: [b, width] → [b, out]."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, out), nn.Linear(out, out)

    def forward(self, x: Tensor, /) -> Tensor:
        return self.leave(nn.functional.silu(self.enter(x)))


class TimeEmbedding(Perceptron):
    """Times [b] → vectors [b, out]: sinusoids of `width`, then a two-layer perceptron.

    `scale` multiplies time first: a schedule over [0, 1] wants 1000, the range that sinusoids were chosen for.
    `cosine_first` and `frequency_shift` are those of `sinusoidal`.
    """

    def __init__(
        self, width: int, out: int, scale: float = 1.0, cosine_first: bool = False, frequency_shift: float = 1.0
    ) -> None:
        super().__init__(width, out)
        self.width, self.scale = width, scale
        self.cosine_first, self.frequency_shift = cosine_first, frequency_shift

    def forward(self, t: Tensor) -> Tensor:
        sinusoids = sinusoidal(
            self.scale * t.float(), self.width, cosine_first=self.cosine_first, frequency_shift=self.frequency_shift
        )
        return super().forward(sinusoids.to(self.enter.weight.dtype))
