"""Embeddings as a medium."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sfumato import serial
from sfumato.arguments import listed, own, whole
from sfumato.errors import DataError, InputError, NonFiniteError, ShapeError, quoted
from sfumato.files import content_sha256, read_header
from sfumato.media.html import picture_html
from sfumato.media.image.plot import heat_map
from sfumato.media.image.png import png
from sfumato.media.image.sheet import sheet
from sfumato.media.keep import keep
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import KEY, SOURCE, parse_record, pick_format, record_text
from sfumato.wording import QUOTED, brief, shortened

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_WIDTH = 2**16
_MOST_BYTES = 2**24
"""The largest file of an embedding."""
_NAME = "embedding"
"""The name of the vector in a file of safetensors."""


@dataclass(frozen=True)
class Embedding:
    """Vectors of `width` real numbers, as an encoder of pictures, sounds or texts gives: float [width], stored as
    float32; a size is (width,)."""

    width: int
    noun: ClassVar[str] = "embedding"
    plural: ClassVar[str] = "embeddings"
    limit: ClassVar[float | None] = None
    endings: ClassVar[tuple[str, ...]] = (".npy", ".safetensors")
    columns: ClassVar[tuple[str, ...]] = ("embedding", "vector")
    formats: ClassVar[tuple[str, ...]] = ("safetensors",)

    def __post_init__(self) -> None:
        whole("width", self.width, 1, MOST_WIDTH)

    @property
    def channels(self) -> int:
        return self.width

    def shape(self, size: Size) -> tuple[int, ...]:
        """[width]."""
        return size

    def check_size(self, size: Any) -> Size:
        """(width,), which is this medium's; a `ShapeError` for any other."""
        if listed("size", own(size)) != [self.width]:
            raise ShapeError(f"size must be ({self.width},), the width of these embeddings, not {quoted(size)}")
        return (self.width,)

    def parse_size(self, text: str) -> Size:
        """The width that "512" spells."""
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"a size reads WIDTH, as in {self.width}, not {quoted(text)}")
        return self.check_size((int(text),))

    def size_text(self, size: Size) -> str:
        """ "512 numbers"."""
        return f"{size[0]:,} numbers"

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """The vector in the bytes of a .npy file, or of a .safetensors file that holds one tensor, as float32 [width].
        Nothing is unpickled."""
        shown = brief(name)
        try:
            if len(data) > _MOST_BYTES:
                raise ValueError(f"{len(data):,} bytes, where {_MOST_BYTES:,} is the most")
            found = _read(data)
        except Exception as error:  # the libraries raise several kinds on broken bytes
            detail = shortened(str(error), QUOTED) or type(error).__name__
            raise DataError(f"{shown}: expected an embedding, came {detail}; replace it or take it out") from error
        if found.shape != (self.width,) or found.dtype.kind != "f":
            came = f"{list(found.shape)} of {found.dtype}"
            raise DataError(f"{shown}: expected [{self.width}] of real numbers, came {came}; replace it or take it out")
        found = found.astype(np.float32)
        if not np.isfinite(found).all():
            raise DataError(f"{shown}: expected finite numbers, came one that is not; replace it or take it out")
        return found

    def floats(self, stored: Tensor) -> Tensor:
        """The numbers as they are, in float32."""
        return stored.float()

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write a vector [width] as float32 in a file of safetensors, with its record in the metadata, as
        `files.read_tensors` reads both. A number that is not finite is a `NonFiniteError`."""
        ending, tensors = f".{pick_format(self, format)}", {_NAME: self._checked(datum)}
        own, source = pick_metadata(record, metadata)
        header = {} if source is None else {SOURCE: source}
        if own is not None:
            held = {"about": json.loads(record_text(own)), "sha256": content_sha256(tensors)}
            header[KEY] = json.dumps(held, sort_keys=True)
        return keep(stem, ending, b"".join(serial.pieces(tensors, header or None)))

    @staticmethod
    def read_record(path: Path) -> Record:
        """The record in a file that `write` wrote; the numbers are not read."""
        text = read_header(path).get("__metadata__", {}).get(KEY)
        held = parse_record(text, path).get("about")
        return held if isinstance(held, dict) else parse_record(None, path)

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        """Vectors [n, width] on one sheet, each a heat map: row by row from above, 0 in the middle of the colours, the
        largest of a vector at their end."""
        return sheet([self._map(one) for one in data], columns, self._scale, captions=captions)

    def html(self, datum: Tensor) -> str:
        """A vector as its heat map."""
        image = self._map(datum)
        return picture_html(png(image), image.width * self._scale, image.height * self._scale)

    @property
    def _scale(self) -> int:
        """How large a number of a heat map is, in pixels."""
        return max(1, 64 // math.ceil(math.sqrt(self.width)))

    def _map(self, datum: Tensor) -> "Image":
        x, columns = self._checked(datum), math.ceil(math.sqrt(self.width))
        x = torch.cat([x, x.new_zeros(-self.width % columns)]).reshape(-1, columns).double()
        return heat_map(x / x.abs().max().clamp_min(1e-300) / 2 + 0.5)

    def _checked(self, datum: Tensor) -> Tensor:
        """The vector in float32; a `ShapeError` or a `NonFiniteError` if it is none."""
        if datum.shape != (self.width,) or not datum.is_floating_point():
            raise ShapeError(
                f"an embedding is [{self.width}] of real numbers, not {list(datum.shape)} of {datum.dtype}"
            )
        if not bool((datum := datum.detach().to("cpu", torch.float32)).isfinite().all()):
            raise NonFiniteError(
                "an embedding holds a number that is not finite: draw it in float32, or mend what gave it"
            )
        return datum.contiguous()


def _read(data: bytes) -> np.ndarray:
    """The one array in a file's bytes."""
    if data.startswith(b"\x93NUMPY"):
        return np.load(io.BytesIO(data), allow_pickle=False)
    from safetensors.numpy import load

    tensors = load(data)
    if len(tensors) != 1:
        raise ValueError(f"a file of {len(tensors)} tensors")
    return next(iter(tensors.values()))
