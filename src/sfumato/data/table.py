"""One table of pictures, whatever they are kept in: every kind of source is a function that fills one."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class Table:
    """A `Source` of n pictures: a column for each thing known of them, and a function that reads one.

    `labels` and `texts` are None when no picture has any; else they hold one entry a picture.
    """

    names: tuple[str, ...]
    read: Callable[[int], Image.Image]
    fingerprint: str
    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    texts: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def image(self, i: int) -> Image.Image:
        """Picture i, decoded in full. Raises DataError, naming it, if it is broken."""
        return self.read(i)

    def label(self, i: int) -> int | None:
        """The index of picture i's class in `classes`, or None without classes."""
        return None if self.labels is None else self.labels[i]

    def captions(self, i: int) -> tuple[str, ...]:
        """The captions of picture i: none, one or several."""
        return () if self.texts is None else self.texts[i]

    def name(self, i: int) -> str:
        """What to call picture i in a message."""
        return self.names[i]


def digest(*parts: str | np.ndarray) -> str:
    """SHA-256 over the parts in order, as 64 hexadecimal digits; an array counts with its type and shape."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            data = part.encode("utf-8", "surrogateescape")
            sha.update(b"s%d:" % len(data) + data)
        else:
            sha.update(f"a{part.dtype.str}{part.shape}:".encode())
            sha.update(np.ascontiguousarray(part).data)
    return sha.hexdigest()
