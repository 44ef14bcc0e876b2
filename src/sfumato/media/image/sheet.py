"""Pictures as Pillow's, one by one and on a sheet."""

import math

import numpy as np
from PIL import Image
from torch import Tensor

from sfumato.arguments import whole
from sfumato.errors import InputError, NonFiniteError

MOST_PIXELS = 2**28
"""Pixels of a sheet."""


def to_image(picture: Tensor) -> Image.Image:
    """One picture, [c, h, w] in [−1, 1], as Pillow's: grayscale for one channel, RGB for three; what lies beyond is
    black or white, and a NaN a `NonFiniteError`."""
    if picture.shape[0] not in (1, 3):
        raise InputError(f"a picture has 1 or 3 channels, not {picture.shape[0]}")
    if bool(picture.isnan().any()):
        raise NonFiniteError("a picture holds NaN, which is no brightness: draw it in float32, or mend what gave it")
    values = ((picture.float().clamp(-1, 1) + 1) * 127.5).round().to("cpu").numpy().astype(np.uint8)
    return Image.fromarray(values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))


def sheet(images: list[Image.Image], columns: int | None = None, scale: int = 1, gap: int = 2) -> Image.Image:
    """Pictures of one size on one sheet, row by row, `gap` pixels apart on white.

    Raises an `InputError` for a sheet of more than `MOST_PIXELS`, or of no such columns, scale or gap."""
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
