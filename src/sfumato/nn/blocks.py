"""The pieces that convolutional networks are made of."""

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from sfumato.nn.dropout import Dropout

M = TypeVar("M", bound=nn.Module)
Padding = Literal["both", "end"]


def norm(channels: int, eps: float = 1e-5, groups: int | None = None) -> nn.GroupNorm:
    """Group normalisation in `groups`; None: in 32, or as many as divide the channels and leave at least four to each.

    A group of one channel would take off again whatever is added to all of that channel, such as the time embedding.
    """
    most = max(min(32, channels // 4), 1)
    fitting = next(number for number in range(most, 0, -1) if channels % number == 0)
    return nn.GroupNorm(groups or fitting, channels, eps)


def zero(module: M) -> M:
    """The module with its parameters at zero: a branch that starts as no change at all."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class Down(nn.Module):
    """Half the size, by a convolution of stride 2 or, without `learned`, by the mean of each square.

    The convolution sees a border of zeros: on every side or, with `padding` "end", at the right and the bottom alone,
    as in the code released with DDPM and the autoencoder of latent diffusion.
    """

    def __init__(self, channels: int, learned: bool = True, padding: Padding = "both") -> None:
        super().__init__()
        self.border = (0, 1, 0, 1) if learned and padding == "end" else None
        inside = 0 if self.border else 1
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=inside) if learned else nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, self.border) if self.border else x)


class Up(nn.Module):
    """Twice the size, or the `size` that is given, each element repeated, then, if `learned`, a convolution."""

    def __init__(self, channels: int, learned: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if learned else nn.Identity()

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        height, width = size or (2 * x.shape[-2], 2 * x.shape[-1])
        return self.conv(nn.functional.interpolate(x, (height, width), mode="nearest"))


class Residual(nn.Module):
    """Two convolutions with the embedding between them, added to what came in: [b, c, h, w] → [b, out, h', w'].

    The embedding enters by addition (DDPM) or, with `scale_shift`, as the gain and offset of the second norm (ADM,
    arXiv:2105.05233, "AdaGN"); 0 channels of it mean that there is none. `resample` "down" or "up" changes the size
    within the block (ADM, after BigGAN).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        embedding: int,
        dropout: float = 0.0,
        scale_shift: bool = False,
        resample: str | None = None,
        eps: float = 1e-5,
        groups: int | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.norm1, self.norm2 = norm(channels, eps, groups), norm(out, eps, groups)
        self.resample = {"down": Down, "up": Up}[resample](channels, learned=False) if resample else nn.Identity()
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out if scale_shift else out) if embedding else None
        self.dropout = Dropout(dropout)
        self.conv2 = zero(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """`embedding` [b, e] has been through its nonlinearity already."""
        h = self.conv1(self.resample(nn.functional.silu(self.norm1(x))))
        if self.embed is None or embedding is None:
            h = self.norm2(h)
        elif self.scale_shift:
            scale, shift = self.embed(embedding)[:, :, None, None].chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + self.embed(embedding)[:, :, None, None])
        h = self.conv2(self.dropout(nn.functional.silu(h)))
        return self.skip(self.resample(x)) + h
