"""Pictures kept as the bytes of their files, within the weights of a network."""

import io
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sfumato.errors import FormatError, InputError, ShapeError

PAGE = 2**23
"""Bytes of a buffer at most, so that weights can be split into files at any of them."""
_MOST = 2**32
_FORMATS = ("WEBP", "PNG")


class EncodedPictures(nn.Module):
    """`pictures` in RGBA, of `side`×`side`, as their files (WebP or PNG), one after the other in `file_bytes` bytes.

    Nothing of a picture is lost, whatever type the weights are brought to, and a file of pictures with few colours is
    several times shorter than its pixels. A picture is decoded when it is asked for, on the CPU, in about a
    millisecond. Nothing is trained.
    """

    def __init__(self, pictures: int, file_bytes: int, side: int = 128) -> None:
        super().__init__()
        if not 0 <= file_bytes <= _MOST:
            raise InputError(f"file_bytes must be from 0 to {_MOST:,}, not {file_bytes:,}")
        self.pictures, self.file_bytes, self.side = pictures, file_bytes, side
        self.register_buffer("ends", torch.zeros(pictures, dtype=torch.int64))
        self.pages = [f"page{number}" for number in range(-(-file_bytes // PAGE))]
        for number, page in enumerate(self.pages):
            self.register_buffer(page, torch.zeros(min(PAGE, file_bytes - number * PAGE), dtype=torch.uint8))

    ends: Tensor

    def forward(self, numbers: Tensor) -> Tensor:
        """Pictures by their numbers [n]: [n, 4, side, side], red, green, blue and opacity from 0 to 1, float32. A
        `FormatError` if the bytes of one are no such picture."""
        different, place = numbers.unique(return_inverse=True)
        found = [self._pixels(number) for number in different.tolist()]
        pixels = torch.stack(found) if found else torch.empty(0, self.side, self.side, 4, dtype=torch.uint8)
        return pixels.to(numbers.device).permute(0, 3, 1, 2)[place].float() / 255

    def file(self, number: int) -> bytes:
        """The bytes of a picture's file."""
        start, end = self.ends[number - 1].item() if number else 0, self.ends[number].item()
        parts = [
            self.get_buffer(page)[max(start - before, 0) : max(end - before, 0)]
            for page, before in zip(self.pages, range(0, self.file_bytes, PAGE), strict=True)
        ]
        return torch.cat(parts).cpu().numpy().tobytes() if parts else b""

    def _pixels(self, number: int) -> Tensor:
        try:
            with Image.open(io.BytesIO(self.file(number)), formats=_FORMATS) as image:
                size = image.size  # by the header, before anything is decoded
                pixels = np.array(image.convert("RGBA")) if size == (self.side, self.side) else None
        except Exception as error:  # Pillow raises many kinds on broken bytes, and the list grows with each version
            raise FormatError(f"picture {number:,} of the weights is no whole file of WebP or PNG") from error
        if pixels is None:
            raise FormatError(
                f"picture {number:,} of the weights is of {size[0]}×{size[1]}, not {self.side}×{self.side}"
            )
        return torch.from_numpy(pixels)

    @torch.no_grad()
    def fit(self, files: Sequence[bytes]) -> Self:
        """Keep these files, one a picture."""
        whole = b"".join(files)
        if len(files) != self.pictures or len(whole) != self.file_bytes:
            raise ShapeError(
                f"{self.pictures:,} pictures of {self.file_bytes:,} bytes in all are kept here, and {len(files):,} of"
                f" {len(whole):,} came"
            )
        self.ends.copy_(torch.tensor([len(file) for file in files], dtype=torch.int64).cumsum(0))
        kept = torch.from_numpy(np.frombuffer(whole, np.uint8).copy())
        for number, page in enumerate(self.pages):
            self.get_buffer(page).copy_(kept[number * PAGE : (number + 1) * PAGE])
        return self
