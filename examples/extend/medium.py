"""A medium: the form of a datum outside of a model, as a file, as stored numbers and as a picture to look at."""

import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sfumato.arguments import listed, own
from sfumato.disk import open_file
from sfumato.errors import DataError, InputError, ShapeError, quoted
from sfumato.media.image import sheet, to_image
from sfumato.media.keep import keep
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import MOST_RECORD, parse_record, pick_format, record_text

if TYPE_CHECKING:
    from PIL.Image import Image

HEIGHT = 64
"""Of a preview, in pixels."""


@dataclass(frozen=True)
class Curve:
    """Curves, such as temperatures of a day: float [channels, length], stored as float32; a size is (length,).

    In a .csv each row is a moment and each column a channel; before them is the record, and what made it.
    """

    channels: int = 1
    noun: ClassVar[str] = "curve"
    plural: ClassVar[str] = "curves"
    limit: ClassVar[float | None] = None
    endings: ClassVar[tuple[str, ...]] = (".csv",)
    columns: ClassVar[tuple[str, ...]] = ("curve",)
    formats: ClassVar[tuple[str, ...]] = ("csv",)

    def shape(self, size: Size) -> tuple[int, ...]:
        return (self.channels, *size)

    def check_size(self, size: Any) -> Size:
        sides = listed("size", own(size))
        if len(sides) != 1 or type(sides[0]) is not int or not 1 <= sides[0] <= 2**20:
            raise ShapeError(f"size must be (length,), from 1 to {2**20:,}, not {quoted(size)}")
        return tuple(sides)

    def parse_size(self, text: str) -> Size:
        if not (text.isdecimal() and len(text) < 8):
            raise InputError(f"a size is the number of moments, as in 256, not {quoted(text)}")
        return (int(text),)

    def size_text(self, size: Size) -> str:
        return f"{size[0]} moments"

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        try:
            rows = np.loadtxt(io.BytesIO(data), np.float32, delimiter=",", ndmin=2)
        except ValueError as error:
            raise DataError(f"{name} is no table of numbers: {error}") from error
        length = size[0] if size else len(rows)
        if rows.shape[1] != self.channels or len(rows) < length or not np.isfinite(rows).all():
            raise DataError(f"{name} should hold {length} rows of {self.channels} finite numbers, not {rows.shape}")
        return rows[:length].T

    def floats(self, stored: Tensor) -> Tensor:
        return stored.float()

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        own, source = pick_metadata(record, metadata)
        lines = [] if own is None else [f"# {record_text(own)}\n"]
        lines += [] if source is None else [f"# {source}\n"]
        text = io.StringIO("".join(lines))
        text.seek(0, io.SEEK_END)
        np.savetxt(text, datum.T.cpu().numpy(), fmt="%.8g", delimiter=",")
        return keep(stem, f".{pick_format(self, format)}", text.getvalue().encode())

    @staticmethod
    def read_record(path: Path) -> Record:
        with open_file(path) as file:
            first = file.readline(MOST_RECORD)
        return parse_record(first[2:].decode(errors="replace") if first.startswith(b"# {") else None, path)

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        return sheet([to_image(self._drawn(datum)) for datum in data], columns, captions=captions)

    def html(self, datum: Tensor) -> str:
        return f"<code>{html.escape(json.dumps(datum.tolist()))}</code>"

    def _drawn(self, datum: Tensor) -> Tensor:
        """The curve in white on black, from its least value to its greatest: [1, HEIGHT, length]."""
        low, high = datum.min(), datum.max()
        rows = ((high - datum) / (high - low).clamp(min=1e-12) * (HEIGHT - 1)).round().long()
        picture = torch.full((HEIGHT, datum.shape[1]), -1.0)
        picture[rows, torch.arange(datum.shape[1]).expand_as(rows)] = 1.0
        return picture[None]
