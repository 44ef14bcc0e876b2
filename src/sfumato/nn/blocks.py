"""The pieces that convolutional networks are made of, over sequences (`dims` 1) and pictures (`dims` 2)."""

from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sfumato.nn.dropout import Dropout

M = TypeVar("M", bound=nn.Module)
Padding = Literal["both", "end"]
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
MEANS = {1: nn.AvgPool1d, 2: nn.AvgPool2d}


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
    """Half the size, by a convolution of stride 2 or, without `learned`, by the mean of each pair or square.

    The convolution sees a border of zeros: on every side or, with `padding` "end", at the right and the bottom alone,
    as in the code released with DDPM and the autoencoder of latent diffusion.
    """

    def __init__(self, channels: int, learned: bool = True, padding: Padding = "both", dims: int = 2) -> None:
        super().__init__()
        self.border = (0, 1) * dims if learned and padding == "end" else None
        inside = 0 if self.border else 1
        convolution = CONVOLUTIONS[dims]
        self.conv = convolution(channels, channels, 3, stride=2, padding=inside) if learned else MEANS[dims](2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, self.border) if self.border else x)


class Up(nn.Module):
    """Twice the size, or the `size` that is given, each element repeated, then, if `learned`, a convolution."""

    def __init__(self, channels: int, learned: bool = True, dims: int = 2) -> None:
        super().__init__()
        self.conv = CONVOLUTIONS[dims](channels, channels, 3, padding=1) if learned else nn.Identity()

    def forward(self, x: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
        wanted = size or tuple(2 * side for side in x.shape[2:])
        return self.conv(nn.functional.interpolate(x, wanted, mode="nearest"))


class Residual(nn.Module):
    """Two convolutions with the embedding between them, added to what came in: [b, c, *d] → [b, out, *d'].

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
        dims: int = 2,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        convolution, change = CONVOLUTIONS[dims], {"down": Down, "up": Up}
        self.norm1, self.norm2 = norm(channels, eps, groups), norm(out, eps, groups)
        self.resample = change[resample](channels, learned=False, dims=dims) if resample else nn.Identity()
        self.conv1 = convolution(channels, out, 3, padding=1)
        self.embed = nn.Linear(embedding, 2 * out if scale_shift else out) if embedding else None
        self.dropout = Dropout(dropout)
        self.conv2 = zero(convolution(out, out, 3, padding=1))
        self.skip = convolution(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """`embedding` [b, e] has been through its nonlinearity already."""
        h = self.conv1(self.resample(nn.functional.silu(self.norm1(x))))
        if self.embed is None or embedding is None:
            h = self.norm2(h)
        elif self.scale_shift:
            scale, shift = each_place(self.embed(embedding), x).chunk(2, dim=1)
            h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        else:
            h = self.norm2(h + each_place(self.embed(embedding), x))
        h = self.conv2(self.dropout(nn.functional.silu(h)))
        return self.skip(self.resample(x)) + h


def each_place(vector: Tensor, x: Tensor) -> Tensor:
    """[b, c] → [b, c, 1, …], the same at each place of x [b, ·, *d]."""
    return vector.reshape(*vector.shape, *[1] * (x.ndim - 2))


def unshuffled(x: Tensor, patch: int) -> Tensor:
    """Each `patch` of places as one place, its numbers side by side in channels: [b, c, n] → [b, c·p, n/p], and
    [b, c, h, w] → [b, c·p², h/p, w/p]."""
    if x.ndim == 4:
        return pixel_unshuffle(x, patch)
    return x.unflatten(2, (-1, patch)).transpose(2, 3).flatten(1, 2)


def shuffled(x: Tensor, patch: int) -> Tensor:
    """The inverse of `unshuffled`."""
    if x.ndim == 4:
        return pixel_shuffle(x, patch)
    return x.unflatten(1, (-1, patch)).transpose(2, 3).flatten(2, 3)
