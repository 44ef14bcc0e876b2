"""Boxes over a background as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from sfumato.media.image.plot import FRAME, INK, PAPER
from sfumato.media.image.transform import Color
from sfumato.media.image.words import fitted, font

_SIDE, _LETTERS, _SMOOTH = 192, 13, 3
"""Pixels of the picture's side, the height of its letters, and how much larger it is drawn before it is brought to its
size, for edges that are smooth."""
_FILL = 70
"""The opacity of a box, of 255."""

# Eight colours that colour-blind people can distinguish (M. Okabe and K. Ito, Color Universal Design, 2008), with the
# yellow darker and grey in the place of black.
_COLORS: tuple[Color, ...] = (
    *((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)),
    *((230, 159, 0), (86, 180, 233), (200, 180, 0), (110, 110, 116)),
)


@dataclass(frozen=True)
class Box:
    """A box, its words, and the number that its colour goes by."""

    edges: tuple[float, float, float, float]
    """Left, top, right and bottom, from 0 to 1 across and down the picture."""
    words: str
    number: int


def boxes_picture(top: Color, bottom: Color, boxes: Sequence[Box], words: str) -> Image.Image:
    """Boxes, the first at the back, over a background that runs from one colour to another; `words` stand below."""
    letters, line = font(_LETTERS * _SMOOTH), (_LETTERS + 9) * _SMOOTH
    side = _SIDE * _SMOOTH
    page = Image.new("RGB", (side, side + line), PAPER)
    page.paste(_gradient(top, bottom, side), (0, 0))
    for box in boxes:
        page.paste(_with_box(page.crop((0, 0, side, side)), box), (0, 0))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, side - 1, side - 1), outline=FRAME, width=_SMOOTH)
    own = fitted(words, letters, side - 8, 1)[0]
    draw.text((side // 2, side + line // 2), own, INK, letters, anchor="mm")
    return page.resize((_SIDE, page.height // _SMOOTH), Image.Resampling.LANCZOS)


def _gradient(top: Color, bottom: Color, side: int) -> Image.Image:
    share = np.linspace(0, 1, side)[:, None, None]
    rows = np.array(top) * (1 - share) + np.array(bottom) * share
    return Image.fromarray(rows.round().astype(np.uint8).repeat(side, axis=1))


def _with_box(page: Image.Image, box: Box) -> Image.Image:
    """The page with a box over it: its colour seen through, its outline, and its words in a corner."""
    color, side, line = _COLORS[box.number % len(_COLORS)], page.width, 2 * _SMOOTH
    over = Image.new("RGBA", page.size)
    draw, letters = ImageDraw.Draw(over), font(_LETTERS * _SMOOTH)
    edges = [side * edge for edge in box.edges]
    draw.rounded_rectangle(edges, 4 * _SMOOTH, (*color, _FILL), (*color, 255), line)
    words = fitted(box.words, letters, side / 2, 1)[0]
    width = letters.getlength(words) + 8 * _SMOOTH
    x, y = (min(max(edge, 0), side - room) for edge, room in zip(edges, (width, 18 * _SMOOTH), strict=False))
    draw.rounded_rectangle((x, y, x + width, y + 18 * _SMOOTH), 4 * _SMOOTH, (*color, 255))
    draw.text((x + width / 2, y + 9 * _SMOOTH), words, "white", letters, anchor="mm")
    return Image.alpha_composite(page.convert("RGBA"), over).convert("RGB")
