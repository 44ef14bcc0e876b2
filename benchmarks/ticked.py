"""A sheet of pictures with what was asked of each, and a tick or a cross: whether a reader found it there."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LINE, LINES, COLUMNS = 128, 12, 13, 3, 8
WIDTH, HEIGHT = SIDE + GAP, SIDE + LINES * LINE + GAP
RIGHT, WRONG = "#1a7f37", "#b42318"


@dataclass(frozen=True)
class Judged:
    """A picture, the prompt that it was drawn for, and whether all of what that asks for was read."""

    picture: Image.Image
    prompt: str
    right: bool


def page(judged: Sequence[Judged]) -> Image.Image:
    """The pictures in rows of eight, each above its prompt, marked at the left of it."""
    rows = -(-len(judged) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * WIDTH + GAP, rows * HEIGHT + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for number, one in enumerate(judged):
        left, top = GAP + number % COLUMNS * WIDTH, GAP + number // COLUMNS * HEIGHT
        sheet.paste(one.picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
        _mark(pen, one.right, left, top + SIDE + 3)
        for line, text in enumerate(textwrap.wrap(one.prompt, 21)[:LINES]):
            pen.text((left + 14, top + SIDE + 2 + line * LINE), text, "#333333", ImageFont.load_default(11))
    return sheet


def _mark(pen: ImageDraw.ImageDraw, right: bool, x: int, y: int) -> None:
    """A tick or a cross, 10 pixels wide."""
    if right:
        pen.line([(x, y + 5), (x + 3, y + 9), (x + 9, y)], RIGHT, 2)
    else:
        pen.line([(x, y), (x + 8, y + 8)], WRONG, 2)
        pen.line([(x, y + 8), (x + 8, y)], WRONG, 2)
