"""A medium: the form of a datum outside of a model, as a file, as stored numbers and as a picture to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, ...]
"""The size of a datum in its medium's own order: (width, height) of a picture, (samples,) of a sound, (length,) of a
text, (width,) of an embedding."""

Record = dict[str, Any]
"""Everything that repeats a sample, as JSON; it travels within the sample's file."""

Keep = Literal["full", "source", "none"]
"""What a file holds beside its datum: the record and the mark that a model made it, the mark alone, or nothing."""


@runtime_checkable
class Medium(Protocol):
    """Pictures, sounds, texts or embeddings: a frozen dataclass whose constructor's arguments say all of it.

    A datum has three forms: a *file* in one of the usual formats; *stored* numbers, compact, as a data set keeps them
    (uint8, int16, int64); and *data*, the floats or token ids that a codec encodes, with `channels` along axis 0 where
    there are any. Every method refuses what it cannot use with a typed error of one line.
    """

    noun: ClassVar[str]
    """One datum in messages: "picture"."""
    plural: ClassVar[str]
    limit: ClassVar[float | None]
    """The bound of a datum's values, which lie in [−limit, limit]; None without one."""
    endings: ClassVar[tuple[str, ...]]
    """The endings of files that hold such data, in small letters: ".png"."""
    columns: ClassVar[tuple[str, ...]]
    """The names of a table's column that holds such data, encoded: "image"; the first is the usual one."""
    formats: ClassVar[tuple[str, ...]]
    """The formats that `write` knows: "png"; the first is its default."""

    @property
    def channels(self) -> int:
        """The channels of a datum, along axis 0."""
        ...

    def shape(self, size: Size) -> tuple[int, ...]:
        """The shape of a datum of that size."""
        ...

    def check_size(self, size: Any) -> Size:
        """The size in Python's own integers; a `ShapeError` that says which form is wanted."""
        ...

    def parse_size(self, text: str) -> Size:
        """A size as the command line spells it: "64x64", "4.5s", "256"."""
        ...

    def size_text(self, size: Size) -> str:
        """A size for messages: "64×64", "4.5 s"."""
        ...

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """A file's bytes → stored numbers, brought to `size` if there is one; a `DataError` that names the file."""
        ...

    def floats(self, stored: Tensor) -> Tensor:
        """Stored numbers → data: bytes and 16-bit samples to [−1, 1], token ids as they are."""
        ...

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write one datum with its record to `stem` and the format's ending, never over another file (`keep`).

        `metadata` "source" leaves only the mark that a model made it, "none" nothing: see `pick_metadata`.
        """
        ...

    def read_record(self, path: Path) -> Record:
        """The record in a file that `write` wrote; a `FormatError` where there is none."""
        ...

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        """All of the data [n, *d] on one picture, `columns` side by side; nearly square if None. `captions`, one a
        datum, stand above them (`media.image.sheet`)."""
        ...

    def html(self, datum: Tensor) -> str:
        """One datum as HTML for a notebook, complete in itself; nothing in it is markup of the datum's."""
        ...
