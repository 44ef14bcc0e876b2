"""Text as a picture."""

from PIL import Image, ImageDraw

from sfumato.media.image.plot import FRAME, INK, PAPER
from sfumato.media.image.words import broken, font
from sfumato.wording import one_line

_WIDTH, _LINES, _LETTERS = 360, 16, 12
"""Pixels of a page's width, its lines, and the height of its letters."""
_LINE, _MARGIN = _LETTERS + 5, 8
_MOST = 4000
"""No page has room for more characters."""


def text_page(text: str) -> Image.Image:
    """The beginning of a text on a page, broken between words; letters that the font has not are boxes."""
    letters, room = font(_LETTERS), _WIDTH - 2 * _MARGIN
    page = Image.new("RGB", (_WIDTH, _LINES * _LINE + 2 * _MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, page.width - 1, page.height - 1), outline=FRAME)
    lines = [line for part in text[:_MOST].splitlines() for line in broken(one_line(part), letters, room)]
    if len(lines) > _LINES or len(text) > _MOST:
        lines = [*lines[: _LINES - 1], "…"]
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + i * _LINE), line, INK, letters)
    return page
