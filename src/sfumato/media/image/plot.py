"""Plots as pictures, for media that are not pictures: heat maps, envelopes, axes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import adaptive_max_pool1d

INK, FRAME, PAPER, _TRACE = (60, 60, 66), (205, 205, 210), (255, 255, 255), (121, 40, 130)
_FONT = 10
"""The height of letters in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 44, 18, 6, 16, 4
"""Room around a plot for the words of its axes, and between two rows."""

# Nine colours of even steps in lightness, from black by purple and orange to pale yellow: those of matplotlib's "magma"
# (S. van der Walt and N. Smith, 2015, CC0).
_MAGMA = (
    *((0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122)),
    *((229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191)),
)

Ticks = Sequence[tuple[float, str]]
"""Marks of an axis: where, from 0 to 1, and their words."""


@dataclass(frozen=True)
class Row:
    """One plot of a figure: a picture, and the marks of its vertical axis, 0 at the bottom."""

    image: Image.Image
    ticks: Ticks = ()


def heat_map(values: Tensor) -> Image.Image:
    """Numbers [h, w] from 0 (dark) to 1 (bright) as a picture, row 0 at the top."""
    places = values.double().clamp(0, 1).cpu().numpy()
    steps = np.linspace(0, 1, len(_MAGMA))
    channels = [np.interp(places, steps, channel) for channel in zip(*_MAGMA, strict=True)]
    return Image.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def envelope(sound: Tensor, width: int, height: int) -> Image.Image:
    """A signal [samples] in [−1, 1] as the range that it takes in each of `width` columns."""
    x = sound.double().clamp(-1, 1)[None]
    most, least = (sign * adaptive_max_pool1d(sign * x, width)[0].cpu().numpy() for sign in (1, -1))
    top, bottom = ((1 - end) / 2 * (height - 1) for end in (most, least))
    rows = np.arange(height)[:, None]
    inside = (rows >= np.floor(top + 0.5)) & (rows <= np.floor(bottom + 0.5))
    page = np.where(inside[..., None], np.array(_TRACE, np.uint8), np.array(PAPER, np.uint8))
    page[height // 2][~inside[height // 2]] = FRAME
    return Image.fromarray(page)


def figure(rows: Sequence[Row], ticks: Ticks = ()) -> Image.Image:
    """Plots of one width below one another, framed, with the words of their axes; `ticks` are those of the bottom."""
    width, height = rows[0].image.width, sum(row.image.height + _GAP for row in rows) - _GAP
    page = Image.new("RGB", (_LEFT + width + _RIGHT, _TOP + height + _BOTTOM), PAPER)
    draw, font, top = ImageDraw.Draw(page), ImageFont.load_default(_FONT), _TOP
    for row in rows:
        end = top + row.image.height - 1
        draw.rectangle((_LEFT - 1, top - 1, _LEFT + width, end + 1), outline=FRAME)
        page.paste(row.image, (_LEFT, top))
        for place, words in row.ticks:
            y = end - place * (row.image.height - 1)
            draw.line((_LEFT - 4, y, _LEFT - 2, y), fill=INK)
            draw.text((_LEFT - 6, y), words, INK, font, anchor="rm")
        top = end + 1 + _GAP
    bottom = _TOP + height
    for place, words in ticks:
        x = _LEFT + place * (width - 1)
        draw.line((x, bottom, x, bottom + 2), fill=INK)
        draw.text((x, bottom + 4), words, INK, font, anchor="mt")
    return page


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that steps over `span` in at most `most` steps."""
    power = 10.0 ** np.floor(np.log10(span / most))
    return float(power * next(step for step in (1, 2, 5, 10) if power * step * most >= span * (1 - 1e-9)))
