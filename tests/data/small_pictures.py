"""Small pictures, made on the spot."""

import io

import numpy as np
from PIL import Image

from sfumato.data import DataSource
from sfumato.media.image import decode


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> Image.Image:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def image(source: DataSource, i: int) -> Image.Image:
    """Picture i of a source, decoded."""
    kept = source.read(i)
    return decode(kept, source.name(i)) if isinstance(kept, bytes) else Image.fromarray(kept)
