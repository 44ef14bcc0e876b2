"""A page of drawn pictures, each beside the real one that it is nearest to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, LINE, COLUMNS = 96, 8, 14, 4
WIDTH, HEIGHT, HEAD = 2 * SIDE + 2 * GAP, SIDE + 2 * LINE + GAP, LINE + 2 * GAP
RIGHT, WRONG = "#1a7f37", "#b42318"


@dataclass(frozen=True)
class Pair:
    """A drawn picture and a real one, what was asked for, what the real one shows, and whether these are the same."""

    drawn: Image.Image
    real: Image.Image
    asked: str
    shows: str
    right: bool


def page(sets: Mapping[str, Sequence[Pair]]) -> Image.Image:
    """Every set under its name: the pairs, with what was asked, and below, in green or red, what the real one shows."""
    heights = [HEAD + -(-len(pairs) // COLUMNS) * HEIGHT for pairs in sets.values()]
    sheet = Image.new("RGB", (COLUMNS * WIDTH + GAP, sum(heights) + GAP), "white")
    pen, top = ImageDraw.Draw(sheet), GAP
    for (name, pairs), height in zip(sets.items(), heights, strict=True):
        pen.text((GAP, top), f"{name}: drawn | nearest real picture", "black", ImageFont.load_default(13))
        for number, pair in enumerate(pairs):
            _paste(sheet, pen, pair, GAP + number % COLUMNS * WIDTH, top + LINE + GAP + number // COLUMNS * HEIGHT)
        top += height
    return sheet


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, pair: Pair, left: int, top: int) -> None:
    for offset, picture in ((0, pair.drawn), (SIDE, pair.real)):
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left + offset, top))
    font = ImageFont.load_default(11)
    for line, (text, colour) in enumerate(((pair.asked, "black"), (pair.shows, RIGHT if pair.right else WRONG))):
        cut = text
        while font.getlength(cut) > 2 * SIDE:
            cut = f"{cut[:-2]}…"
        pen.text((left, top + SIDE + line * LINE), cut, colour, font)
