"""Text as a picture."""

from PIL import Image, ImageDraw, ImageFont

from sfumato.media.image.plot import FRAME, INK, PAPER
from sfumato.wording import one_line

_WIDTH, _LINES, _LETTERS = 360, 16, 12
"""Pixels of a page's width, its lines, and the height of its letters."""
_LINE, _MARGIN = _LETTERS + 5, 8
_MOST = 4000
"""No page has room for more characters."""


def text_page(text: str) -> Image.Image:
    """The beginning of a text on a page, broken between words; letters that the font has not are boxes."""
    font = ImageFont.load_default(_LETTERS)
    page = Image.new("RGB", (_WIDTH, _LINES * _LINE + 2 * _MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width - 1, page.height - 1), outline=FRAME)
    lines = [line for part in text[:_MOST].splitlines() for line in _broken(one_line(part), font)]
    if len(lines) > _LINES or len(text) > _MOST:
        lines = [*lines[: _LINES - 1], "…"]
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + i * _LINE), line, INK, font)
    return page


def _broken(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """A line in lines that fit the page, broken between words, and within those that are wider than it."""
    lines, room = [""], _WIDTH - 2 * _MARGIN
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(longer) <= room:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for letter in word:
            if font.getlength(lines[-1] + letter) > room:
                lines.append("")
            lines[-1] += letter
    return lines
