"""Colours turned: what has one hue, in another."""

import torch
from torch import Tensor

REACH, SOFT = 52.0, 16.0
"""How far from the old hue, in degrees, a colour is still turned, and over how many degrees less and less of it."""
GREY, VIVID = 0.06, 0.12
"""Below which saturation a colour is grey and stays, and over how much more it is turned less and less."""
NARROWED = 0.5
"""What is left of the differences between hues, for those near the new one may mean another colour."""


def recolored(rgb: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Pictures `rgb` [..., 3, h, w] in [0, 1] whose hue is `old`, with what is near that hue at `new` [..., 3]: hue in
    degrees, saturation and value in [0, 1].

    Saturation and value go along straight lines, from 0 to the old one, which becomes the new one, and on towards 1,
    but no steeper than before, so that shades and lights keep their order; of the differences between hues half is
    kept. Other hues and greys stay.
    """
    hue, saturation, value = hsv(rgb)
    h0, s0, v0 = (one[..., None, None] for one in old.to(rgb.dtype).unbind(-1))
    h1, s1, v1 = (one[..., None, None] for one in new.to(rgb.dtype).unbind(-1))
    away = (hue - h0 + 180) % 360 - 180
    share = ((REACH - away.abs()) / SOFT).clamp(0, 1) * ((saturation - GREY) / VIVID).clamp(0, 1)
    turned = from_hsv((h1 + NARROWED * away) % 360, _moved(saturation, s0, s1), _moved(value, v0, v1))
    return rgb + share[..., None, :, :] * (turned - rgb)


def hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """RGB [..., 3, h, w] in [0, 1] → hue in degrees, saturation and value in [0, 1], each [..., h, w] (A. R. Smith,
    Color gamut transform pairs, 1978)."""
    r, g, b = rgb.unbind(-3)
    value, least = rgb.amax(-3), rgb.amin(-3)
    chroma = value - least
    safe = chroma.clamp_min(1e-8)
    hue = torch.where(value == r, (g - b) / safe % 6, torch.where(value == g, (b - r) / safe + 2, (r - g) / safe + 4))
    return 60 * hue * (chroma > 0), chroma / value.clamp_min(1e-8), value


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `hsv`: [..., h, w] each → RGB [..., 3, h, w]."""

    def channel(n: int) -> Tensor:
        k = (n + hue / 60) % 6
        return value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1)

    return torch.stack([channel(5), channel(3), channel(1)], dim=-3)


def _moved(level: Tensor, old: Tensor, new: Tensor) -> Tensor:
    below = level * (new / old.clamp_min(1e-3))
    above = new + (level - old) * ((1 - new) / (1 - old).clamp_min(0.01)).clamp_max(1)
    return torch.where(level < old, below, above).clamp(0, 1)
