"""What a system drew, ready to look at, to keep and to repeat."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
from torch import Tensor

from sfumato.errors import NonFiniteError
from sfumato.media.image import Image, to_image
from sfumato.media.protocol import Record
from sfumato.parts import MEDIA


@dataclass(frozen=True)
class Samples:
    """Pictures `tensor`, float32 [n, c, h, w] in [−1, 1], and for each a record that says how to repeat it."""

    tensor: Tensor
    records: tuple[Record, ...]

    def __len__(self) -> int:
        return len(self.tensor)

    def images(self) -> list[PIL.Image.Image]:
        """The pictures, as Pillow's."""
        return [to_image(picture) for picture in self.tensor]

    def grid(self, columns: int | None = None, scale: int | None = None, gap: int = 2) -> PIL.Image.Image:
        """All pictures on one sheet, row by row; small ones enlarged in whole steps unless `scale` says how much.

        Raises an `InputError` for a sheet of more than `MOST_PIXELS`, or of no such columns, scale or gap."""
        return Image(self.tensor.shape[1]).preview(self.tensor, columns, scale, gap)

    def save(self, folder: str | Path) -> list[Path]:
        """Write each picture as `PROMPT-SEED.png` into `folder`, with its record inside; returns the paths.

        Another picture of that name stays, and the new one is numbered; the same one is not written twice.
        """
        medium = Image(self.tensor.shape[1])
        if bool(self.tensor.isnan().any()):  # before the first is written
            raise NonFiniteError(f"a {medium.noun} holds NaN: draw it in float32, or mend what gave it")
        return [
            medium.write(picture, record, Path(folder) / _stem(record))
            for picture, record in zip(self.tensor, self.records, strict=True)
        ]


def read_record(path: Path) -> Record:
    """The record inside a file that `Samples.save` wrote, of the medium whose ending it has; that of a picture if none.

    Raises a `FormatError` where there is no record.
    """
    found = (known for known in MEDIA.kinds.values() if path.suffix.lower() in known.endings)
    return next(found, Image).read_record(path)


def _stem(record: Record) -> str:
    """A picture's prompt and seed as the name of its file: names are counted in bytes."""
    start = "-".join(_words(record.get("prompt"))).encode()[:100].decode(errors="ignore").rstrip("-")
    seed = "".join(_words(record.get("seed")))[:40] or "0"
    return f"{start}-{seed}" if start else seed


def _words(value: Any) -> list[str]:
    """A value as words that a file's name may hold."""
    return "".join(c if c.isalnum() else " " for c in str(value if value is not None else "")).split()
