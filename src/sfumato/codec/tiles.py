"""Large pictures in overlapping tiles, so that memory stays bounded."""

from collections.abc import Callable

import torch
from torch import Tensor

TILE = 64
"""A tile's sides in latents."""
OVERLAP = 16
"""How many latents neighbouring tiles share at least."""


def tiled(change: Callable[[Tensor], Tensor], x: Tensor, per_latent: int, per_latent_after: int) -> Tensor:
    """`change(x)`, [b, c, h, w] → [b, c', h', w'], a tile at a time; where tiles overlap, each fades linearly into the
    next.

    A latent is `per_latent` elements of x wide and high, and `per_latent_after` of the result. Memory is held for x,
    the result and one tile: a decoder whose largest layer wants m bytes for the whole picture wants m·TILE²/(h·w), h
    and w in latents. For Stable Diffusion's and 2048×2048 pixels, m is 4.3 GB (256 channels of float32), a tile's 0.27.

    A tile sees nothing beyond its borders and has norms of its own, so the result is near the whole one and not equal.
    """
    whole = weights = torch.empty(0)
    height, width = (side // per_latent for side in x.shape[-2:])
    for top in starts(height):
        for left in starts(width):
            rows, columns = slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width))
            part = change(x[..., scaled(rows, per_latent), scaled(columns, per_latent)])
            if not whole.numel():
                sides = height * per_latent_after, width * per_latent_after
                whole, weights = part.new_zeros(*part.shape[:2], *sides), part.new_zeros(sides)
            place = ..., scaled(rows, per_latent_after), scaled(columns, per_latent_after)
            ramps = [ramp(side, OVERLAP * per_latent_after, part) for side in part.shape[-2:]]
            share = ramps[0][:, None] * ramps[1]
            whole[place] += share * part
            weights[place] += share
    return whole.div_(weights)


def starts(side: int) -> list[int]:
    """Where tiles begin along a side: every TILE − OVERLAP, and the last one so that it ends where the side does."""
    last = max(side - TILE, 0)
    return [*range(0, last, TILE - OVERLAP), last]


def scaled(span: slice, factor: int) -> slice:
    return slice(span.start * factor, span.stop * factor)


def ramp(side: int, overlap: int, like: Tensor) -> Tensor:
    """A tile's weight along a side: rising over `overlap` places, and falling likewise at the other end."""
    from_start = torch.arange(side, device=like.device, dtype=torch.float32) + 0.5
    return (torch.minimum(from_start, side - from_start) / overlap).clamp(max=1).to(like.dtype)
