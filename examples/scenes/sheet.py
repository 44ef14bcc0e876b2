"""A sheet of pictures above the words that they were drawn from."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (236, 236, 236), (60, 60, 60)
"""The paper is not white, so that a picture's own white ends where the picture does."""
MARGIN, BETWEEN = 12, 2


def sheet(
    pictures: Sequence[Image.Image], words: Sequence[str], columns: int, letters: int = 11, lines: int = 3
) -> Image.Image:
    """A block for each of `words`, in rows of `columns`: as many pictures for each, side by side, and the words below,
    in at most so many lines of letters of that height."""
    each, (across, high) = len(pictures) // len(words), pictures[0].size
    wide, line = each * (across + BETWEEN) - BETWEEN, round(1.2 * letters)
    width, height = wide + MARGIN, high + lines * line + MARGIN
    rows = -(-len(words) // columns)
    page = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=letters)
    for place, text in enumerate(words):
        x, y = MARGIN + place % columns * width, MARGIN + place // columns * height
        for number, picture in enumerate(pictures[place * each : (place + 1) * each]):
            page.paste(picture, (x + number * (across + BETWEEN), y))
        for number, part in enumerate(textwrap.wrap(text, 2 * wide // letters, max_lines=lines, placeholder=" …")):
            pen.text((x + wide / 2, y + high + 2 + number * line), part, fill=INK, font=font, anchor="ma")
    return page
