"""Pictures as Pillow's, one by one and on a sheet."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from sfumato.arguments import whole
from sfumato.errors import InputError, NonFiniteError
from sfumato.media.image.words import Font, fitted, font, plain

MOST_PIXELS = 2**28
"""Pixels of a sheet."""
_WIDTH, _LETTERS, _MOST_LETTERS = 1200, 13, 64
"""Of a sheet with words: the pixels across that a screen has room for, and the height of its letters."""
_LINES, _MOST_CHARACTERS = 3, 400
"""Lines of one caption, and how much of it is looked at."""
_APART = 8
"""Pixels between neighbours of different captions, besides the gap."""


def to_image(picture: Tensor) -> Image.Image:
    """One picture, [c, h, w] in [−1, 1], as Pillow's: grayscale for one channel, RGB for three; what lies beyond is
    black or white, and a NaN a `NonFiniteError`."""
    if picture.shape[0] not in (1, 3):
        raise InputError(f"a picture has 1 or 3 channels, not {picture.shape[0]}")
    if bool(picture.isnan().any()):
        raise NonFiniteError("a picture holds NaN, which is no brightness: draw it in float32, or mend what gave it")
    values = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu").numpy().astype(np.uint8)
    return Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))


def sheet(
    images: list[Image.Image],
    columns: int | None = None,
    scale: int = 1,
    gap: int = 2,
    captions: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures of one size on one sheet, row by row, `gap` pixels apart on white.

    `captions`, one a picture, stand above them, once above neighbours that share one; "" leaves no room for words. The
    columns, unless they are given, are then as many as a screen has room for, and groups of one caption stay whole.

    Raises an `InputError` for a sheet of more than `MOST_PIXELS`, or of no such columns, scale or gap."""
    if not images:
        raise InputError("a sheet needs at least one picture")
    if captions is not None and len(captions) != len(images):
        raise InputError(f"each picture wants a caption: {len(images)} pictures came with {len(captions)}")
    scale, gap = whole("scale", scale, 1, MOST_PIXELS), whole("gap", gap, 0, MOST_PIXELS)
    width, height = images[0].width * scale + gap, images[0].height * scale + gap
    words = [plain(text[:_MOST_CHARACTERS]) for text in captions or ()]
    columns = whole("columns", columns or _columns(words, len(images), width, height), 1, MOST_PIXELS)
    rows = math.ceil(len(images) / columns)
    apart = _apart(words, columns)
    headings = _headings(words, columns, width)
    whole_width = columns * width + max(apart, default=0)
    whole_height = rows * height + sum(heading.height for heading in headings)
    if whole_width * whole_height > MOST_PIXELS:
        raise InputError(
            f"a sheet holds at most {MOST_PIXELS:,} pixels, not {whole_height:,} rows of {whole_width:,}: give"
            " fewer pictures, or another scale, gap or number of columns"
        )
    page = Image.new(images[0].mode, (whole_width + gap, whole_height + gap), "white")
    top = gap
    for row in range(rows):
        for heading in headings[row : row + 1]:
            heading.draw(page, gap, top)
            top += heading.height
        for i, image in enumerate(images[row * columns : (row + 1) * columns]):
            left = gap + i * width + (apart[row * columns + i] if apart else 0)
            enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
            page.paste(enlarged, (left, top))
        top += height
    return page


def _columns(words: Sequence[str], count: int, width: int, height: int) -> int:
    """How many pictures of that size stand side by side: nearly as many as stand below one another; with words as many
    as a screen has room for, or as make the sheet nearly square, in whole groups of one caption."""
    if not any(words):
        return math.ceil(math.sqrt(count))
    longest = max(n for _, _, n in _runs(words))
    fit = max(_WIDTH // width, math.ceil(math.sqrt(count * height / width)))
    if longest > fit:
        return max(n for n in range(1, fit + 1) if longest % n == 0)
    groups = math.ceil(count / longest)
    return longest * math.ceil(groups / math.ceil(groups / (fit // longest)))


@dataclass(frozen=True)
class _Heading:
    """The words above a row of pictures: lines, and where they begin, above the neighbours that share them."""

    font: Font
    line: int
    """Pixels from one line to the next."""
    runs: Sequence[tuple[int, Sequence[str]]]

    @property
    def height(self) -> int:
        most = max((len(lines) for _, lines in self.runs), default=0)
        return most * self.line + self.line // 2 if most else 0

    def draw(self, page: Image.Image, left: int, top: int) -> None:
        """Draw them onto the page, the last line of each close to the pictures."""
        draw = ImageDraw.Draw(page)
        for x, lines in self.runs:
            for i, text in enumerate(lines):
                y = top + self.height - (len(lines) - i) * self.line
                draw.text((left + x, y), text, "#3c3c42", self.font)


def _headings(words: Sequence[str], columns: int, width: int) -> list[_Heading]:
    """A heading a row; none without words."""
    if not any(words):
        return []
    letters = min(max(_LETTERS, round(_LETTERS * columns * width / _WIDTH)), _MOST_LETTERS)  # of a large sheet, large
    own, found = font(letters), []
    for start in range(0, len(words), columns):
        runs = enumerate(_runs(words[start : start + columns]))
        fits = [(x * width + k * _APART, fitted(text, own, n * width - 4, _LINES)) for k, (text, x, n) in runs if text]
        found.append(_Heading(own, round(1.25 * letters), fits))
    return found


def _apart(words: Sequence[str], columns: int) -> list[int]:
    """How far each picture is moved to the right, so that neighbours of different captions are seen apart."""
    rows = (words[start : start + columns] for start in range(0, len(words), columns))
    return [_APART * k for row in rows for k, (_, _, n) in enumerate(_runs(row)) for _ in range(n)]


def _runs(words: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Neighbours of one caption: the caption, where they begin and how many they are."""
    place = 0
    for text, group in groupby(words):
        n = len(list(group))
        yield text, place, n
        place += n
