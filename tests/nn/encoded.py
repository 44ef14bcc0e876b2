"""Pictures as the files that a memory keeps."""

import io
from dataclasses import dataclass

import torch
from PIL import Image


@dataclass(frozen=True)
class Files:
    """The `files` of pictures, and the `sizes` that a memory of them takes: the bytes of all, and a side."""

    files: list[bytes]
    sizes: tuple[int, int]


def files(pictures: torch.Tensor) -> Files:
    """Pictures [n, 4, side, side] in RGBA, from 0 to 1, as PNG."""
    pixels = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    packed = []
    for one in pixels:
        buffer = io.BytesIO()
        Image.fromarray(one).save(buffer, "PNG")
        packed.append(buffer.getvalue())
    return Files(packed, (sum(map(len, packed)), pictures.shape[-1]))
