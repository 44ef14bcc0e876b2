"""Time as a vector."""

import math

import torch
from torch import Tensor, nn


def sinusoidal(t: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sines and cosines of times `t`, [b], at `width/2` geometric frequencies from 1 to 1/longest: float32 [b, width].

    `[sin(t·f_i), cos(t·f_i)]`, `f_i = longest^(−i/(width/2 − 1))` (Transformer, arXiv:1706.03762, section 3.5, in the
    form of the code released with DDPM). An odd width ends in a zero.
    """
    half = width // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    angle = t.float()[:, None] * torch.exp(-math.log(longest) * i / max(half - 1, 1))
    return nn.functional.pad(torch.cat([angle.sin(), angle.cos()], dim=1), (0, width % 2))


class TimeEmbedding(nn.Module):
    """Times [b] → vectors [b, out]: sinusoids of `width`, then a two-layer perceptron.

    `scale` multiplies time first: a schedule over [0, 1] wants 1000, the range that sinusoids were chosen for.
    """

    def __init__(self, width: int, out: int, scale: float = 1.0) -> None:
        super().__init__()
        self.width, self.scale = width, scale
        self.enter, self.leave = nn.Linear(width, out), nn.Linear(out, out)

    def forward(self, t: Tensor) -> Tensor:
        waves = sinusoidal(self.scale * t.float(), self.width).to(self.enter.weight.dtype)
        return self.leave(nn.functional.silu(self.enter(waves)))
