"""What a system drew, ready to look at, to keep and to repeat."""

import io
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from torch import Tensor

from sfumato.errors import FormatError, InputError
from sfumato.files import parse_json, write_bytes

CHUNK = "sfumato"


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
        """All pictures on one sheet, row by row; small ones enlarged in whole steps unless `scale` says how much."""
        height, width = self.tensor.shape[-2:]
        return sheet(self.images(), columns, scale or max(1, 64 // max(height, width)), gap)

    def save(self, folder: str | Path) -> list[Path]:
        """Write each picture as `PROMPT-SEED.png` into `folder`, with its record inside; returns the paths.

        Another picture of that name stays, and the new one is numbered; the same one is not written twice.
        """
        return [
            _keep(Path(folder), f"{_slug(record.get('prompt'))}{record.get('seed', 0)}", png(image, record))
            for image, record in zip(self.images(), self.records, strict=True)
        ]


def to_image(picture: Tensor) -> Image.Image:
    """One picture, [c, h, w] in [−1, 1], as Pillow's: grey for one channel, RGB for three."""
    if picture.shape[0] not in (1, 3):
        raise InputError(f"a picture has 1 or 3 channels, not {picture.shape[0]}")
    values = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu").numpy().astype(np.uint8)
    return Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))


def sheet(images: list[Image.Image], columns: int | None = None, scale: int = 1, gap: int = 2) -> Image.Image:
    """Pictures of one size on one sheet, row by row, `gap` pixels apart on white."""
    if not images:
        raise InputError("a sheet needs at least one picture")
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = images[0].width * scale + gap, images[0].height * scale + gap
    page = Image.new(images[0].mode, (columns * width + gap, rows * height + gap), "white")
    for i, image in enumerate(images):
        enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        page.paste(enlarged, (gap + i % columns * width, gap + i // columns * height))
    return page


def png(image: Image.Image, record: dict[str, Any]) -> bytes:
    """A PNG file that carries `record` in a text chunk."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt(CHUNK, json.dumps(record, ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def read_record(path: Path) -> dict[str, Any]:
    """The record inside a PNG that `png` made."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            text = image.info.get(CHUNK)  # the chunk stands before the pixels, which are not decoded
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} cannot be read as a PNG: {error}") from error
    if not isinstance(text, str):
        raise FormatError(f"{path} carries no record of Sfumato's: it was drawn by something else, or was edited since")
    return parse_json(text.encode(), f"the record in {path}")


def _keep(folder: Path, stem: str, data: bytes) -> Path:
    """Write `data` to the first of `stem.png`, `stem_2.png`, … that is free or holds it already."""
    for number in itertools.count(1):
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}_{number}.png")
        if not path.exists():
            write_bytes(path, data)
            return path
        if path.read_bytes() == data:
            return path
    raise AssertionError


def _slug(prompt: Any) -> str:
    """A prompt as the start of a file's name."""
    words = "".join(c if c.isalnum() else " " for c in str(prompt if prompt is not None else "")).split()
    return "".join(f"{word}-" for word in words).encode()[:100].decode(errors="ignore")  # names are counted in bytes
