"""Pictures as a medium."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from torch import Tensor

from sfumato.arguments import listed, own, whole
from sfumato.errors import InputError, ShapeError, quoted
from sfumato.media.html import picture_html
from sfumato.media.image.compressed import jpeg, webp
from sfumato.media.image.decode import ENDINGS, decode
from sfumato.media.image.png import png
from sfumato.media.image.sheet import sheet, to_image
from sfumato.media.image.texts import read_texts
from sfumato.media.image.transform import to_array
from sfumato.media.keep import keep
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import KEY, parse_record, pick_format

MOST_SIDE = 16384
_WRITERS = {"png": png, "jpg": jpeg, "jpeg": jpeg, "webp": webp}


@dataclass(frozen=True)
class Image:
    """Pictures: float [channels, height, width] in [−1, 1], stored as uint8; a size is (width, height).

    `channels` is 1 (grayscale), 3 (RGB), or 4 (RGB and alpha, which is stored and not written).
    """

    channels: int = 3
    noun: ClassVar[str] = "picture"
    plural: ClassVar[str] = "pictures"
    limit: ClassVar[float | None] = 1.0
    endings: ClassVar[tuple[str, ...]] = ENDINGS
    columns: ClassVar[tuple[str, ...]] = ("image", "img", "picture")
    formats: ClassVar[tuple[str, ...]] = ("png", "jpg", "jpeg", "webp")

    def __post_init__(self) -> None:
        if whole("channels", self.channels, 1, 4) == 2:
            raise InputError("pictures have 1 channel (grayscale), 3 (RGB) or 4 (RGB and alpha), not 2")

    def shape(self, size: Size) -> tuple[int, ...]:
        """[channels, height, width]."""
        width, height = size
        return (self.channels, height, width)

    def check_size(self, size: Any) -> Size:
        """(width, height), each from 1 to `MOST_SIDE`; a `ShapeError` for anything else."""
        sides = listed("size", own(size))
        if len(sides) != 2 or not all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides):
            raise ShapeError(f"size must be (width, height), each from 1 to {MOST_SIDE:,}, not {quoted(size)}")
        return tuple(sides)

    def parse_size(self, text: str) -> Size:
        """The size that "64x64", width by height, spells; "64" is a square."""
        width, cross, height = text.lower().replace("×", "x").partition("x")
        height = height if cross else width
        if not all(side.isdecimal() and len(side) < 10 for side in (width, height)):
            raise InputError(f"a size reads WIDTHxHEIGHT, as in 64x64, not {quoted(text)}")
        return int(width), int(height)

    def size_text(self, size: Size) -> str:
        """ "64×64"."""
        return "×".join(map(str, size))

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """The picture in a file's bytes, uint8 [channels, height, width]: the largest centred part of the aspect of
        `size`, scaled to it; transparent ones over white. See `decode` and `to_array`."""
        image = decode(data, name)
        return to_array(image, size=size or image.size, channels=self.channels)

    def floats(self, stored: Tensor) -> Tensor:
        """uint8 [..., h, w] → float32 in [−1, 1]: x / 127.5 − 1."""
        return stored.float().div_(127.5).sub_(1)

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write a picture [1 or 3, h, w] in [−1, 1] as a PNG, a WebP or a JPEG with its metadata; see `to_image`.

        PNG and WebP keep its very pixels. JPEG ("jpg" or "jpeg") is of quality 95, and its colours in full resolution.
        """
        format = pick_format(self, format)
        return keep(stem, f".{format}", _WRITERS[format](to_image(datum), *pick_metadata(record, metadata)))

    @staticmethod
    def read_record(path: Path) -> Record:
        """The record inside a picture that `write` wrote; no pixel is decoded."""
        texts = read_texts(path)
        return parse_record(texts.get(KEY), path)

    def preview(
        self,
        data: Tensor,
        columns: int | None = None,
        scale: int | None = None,
        gap: int = 2,
        *,
        captions: Sequence[str] | None = None,
    ) -> PIL.Image.Image:
        """Pictures [n, c, h, w] on one sheet, row by row, `gap` pixels apart; small ones are enlarged in whole steps,
        by `scale` if it is given, and more with `captions`, so that there is room for words."""
        side = max(data.shape[-2:])
        usual = max(1, 64 // side) if captions is None else math.ceil(96 / side)
        return sheet([to_image(one) for one in data], columns, scale or usual, gap, captions)

    def html(self, datum: Tensor) -> str:
        """A picture as an `img`, small ones enlarged as on a sheet."""
        height, width = datum.shape[-2:]
        scale = max(1, 64 // max(height, width))
        return picture_html(png(to_image(datum)), width * scale, height * scale)
