"""What a system drew, ready to look at, to keep and to repeat."""

import contextlib
import io
import itertools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import Tensor

from sfumato.disk import Taken, open_file
from sfumato.errors import FormatError, InputError, NonFiniteError
from sfumato.files import parse_json, readable, write_bytes
from sfumato.settings import whole
from sfumato.wording import brief, well_formed

CHUNK = "sfumato"
MOST_HEAD = 2 * 2**20
"""Bytes of a picture's file that are looked through for its record, which stands before the pixels."""

MOST_PIXELS = 2**28
"""Pixels of a sheet."""


@dataclass(frozen=True)
class Samples:
    """Pictures `tensor`, float32 [n, c, h, w] in [−1, 1], and for each a record that says how to repeat it."""

    tensor: Tensor
    records: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.tensor)

    def images(self) -> list[Image.Image]:
        """The pictures, as Pillow's."""
        return [to_image(picture) for picture in self.tensor]

    def grid(self, columns: int | None = None, scale: int | None = None, gap: int = 2) -> Image.Image:
        """All pictures on one sheet, row by row; small ones enlarged in whole steps unless `scale` says how much.

        Raises an `InputError` for a sheet of more than `MOST_PIXELS`, or of no such columns, scale or gap."""
        height, width = self.tensor.shape[-2:]
        return sheet(self.images(), columns, scale or max(1, 64 // max(height, width)), gap)

    def save(self, folder: str | Path) -> list[Path]:
        """Write each picture as `PROMPT-SEED.png` into `folder`, with its record inside; returns the paths.

        Another picture of that name stays, and the new one is numbered; the same one is not written twice.
        """
        return [
            _keep(Path(folder), _stem(record), png(image, record))
            for image, record in zip(self.images(), self.records, strict=True)
        ]


def to_image(picture: Tensor) -> Image.Image:
    """One picture, [c, h, w] in [−1, 1], as Pillow's: grey for one channel, RGB for three; what lies beyond is black or
    white, and a NaN a `NonFiniteError`."""
    if picture.shape[0] not in (1, 3):
        raise InputError(f"a picture has 1 or 3 channels, not {picture.shape[0]}")
    if bool(picture.isnan().any()):
        raise NonFiniteError("a picture holds NaN, which is no brightness: draw it in float32, or mend what gave it")
    values = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu").numpy().astype(np.uint8)
    return Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))


def sheet(images: list[Image.Image], columns: int | None = None, scale: int = 1, gap: int = 2) -> Image.Image:
    """Pictures of one size on one sheet, row by row, `gap` pixels apart on white."""
    if not images:
        raise InputError("a sheet needs at least one picture")
    columns = whole("columns", columns or math.ceil(math.sqrt(len(images))), 1, MOST_PIXELS)
    scale, gap = whole("scale", scale, 1, MOST_PIXELS), whole("gap", gap, 0, MOST_PIXELS)
    rows = math.ceil(len(images) / columns)
    width, height = images[0].width * scale + gap, images[0].height * scale + gap
    if columns * width * rows * height > MOST_PIXELS:
        raise InputError(
            f"a sheet holds at most {MOST_PIXELS:,} pixels, not {rows * height:,} rows of {columns * width:,}: give"
            " fewer pictures, or another scale, gap or number of columns"
        )
    page = Image.new(images[0].mode, (columns * width + gap, rows * height + gap), "white")
    for i, image in enumerate(images):
        enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        page.paste(enlarged, (gap + i % columns * width, gap + i // columns * height))
    return page


def png(image: Image.Image, record: dict[str, Any]) -> bytes:
    """A PNG file that carries `record` in a text chunk."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt(CHUNK, well_formed(json.dumps(record, ensure_ascii=False)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def read_record(path: Path) -> dict[str, Any]:
    """The record inside a PNG that `png` made."""
    with readable(path), open_file(path) as file:
        head = file.read(MOST_HEAD)
    try:
        with Image.open(io.BytesIO(head), formats=["PNG"]) as image:
            text = image.info.get(CHUNK)  # the chunk stands before the pixels, which are not decoded
    except Image.UnidentifiedImageError as error:
        raise FormatError(f"{path} cannot be read as a PNG: it is something else, or damaged") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} cannot be read as a PNG: {brief(str(error))}") from error
    if not isinstance(text, str):
        raise FormatError(f"{path} carries no record of Sfumato's: it was drawn by something else, or was edited since")
    return parse_json(text.encode(), f"the record in {path}")


def _keep(folder: Path, stem: str, data: bytes) -> Path:
    """Write `data` to the first of `stem.png`, `stem_2.png`, … that is free or holds it already. What is there stays,
    whoever put it there and when."""
    for number in itertools.count(1):
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}_{number}.png")
        with contextlib.suppress(Taken):
            if not os.path.lexists(path):
                write_bytes(path, data, new=True)
                return path
        if _holds(path, data):
            return path
    raise AssertionError


def _holds(path: Path, data: bytes) -> bool:
    """Whether there is a file of these bytes; one that cannot be read is another."""
    try:
        return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _stem(record: dict[str, Any]) -> str:
    """A picture's prompt and seed as the name of its file: names are counted in bytes."""
    start = "-".join(_words(record.get("prompt"))).encode()[:100].decode(errors="ignore").rstrip("-")
    seed = "".join(_words(record.get("seed")))[:40] or "0"
    return f"{start}-{seed}" if start else seed


def _words(value: Any) -> list[str]:
    """A value as words that a file's name may hold."""
    return "".join(c if c.isalnum() else " " for c in str(value if value is not None else "")).split()
