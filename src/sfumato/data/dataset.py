"""A data set ready to train on: data of one form, and everything known of each datum."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sfumato.media import Medium, Size


class Stored(Protocol):
    """n data in their medium's stored form, [n, *shape]: an array in memory, a map of a file, or `OnDemand`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any:
        """Rows by a whole number, a slice or an array of whole numbers, or a tuple that begins with one of these."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A datum that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """n data of one medium and size, with everything known of them.

    - `medium`: what they are, and how `stored` numbers become floats;
    - `stored` [n, *shape]: pictures are uint8 [n, c, h, w], 0 to 255; sounds int16 [n, c, samples];
    - `labels`: int64 [n], each the place of a class in `classes`, or None without classes. A class keeps its place even
      if everything of it was left out;
    - `conditioning`: the pictures that each is to be conditioned on, in the same form; None without any, or if they
      were not asked for;
    - `captions`: none, one or several a datum; `names`: what messages call each;
    - `skipped`: broken data that were left out; `notes`: a line each for the user;
    - `fingerprint`: SHA-256 over the source's own, the settings and what was left out; `contents`: SHA-256 over the
      bytes that each datum was read from.

    Where `stored` lies changes neither the order of the data nor a byte of them.
    """

    medium: Medium
    stored: Stored
    labels: npt.NDArray[np.int64] | None
    captions: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    fingerprint: str
    contents: str = ""
    conditioning: Stored | None = None

    def __len__(self) -> int:
        return len(self.names)

    def few(self, most: int) -> "Dataset":
        """At most so many of the data, from all over them."""
        kept = np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(np.int64)
        return replace(
            self,
            stored=np.stack([self.stored[i] for i in kept]),
            conditioning=None if self.conditioning is None else np.stack([self.conditioning[i] for i in kept]),
            labels=None if self.labels is None else self.labels[kept],
            captions=tuple(self.captions[i] for i in kept),
            names=tuple(self.names[i] for i in kept),
        )

    @property
    def size(self) -> Size:
        """The size that all data share, in the medium's order."""
        return size_of(self.stored.shape[1:])


def size_of(shape: tuple[int, ...]) -> Size:
    """The size behind the shape of a datum: the axes after the channels, the last first; (n,) where there is but
    one."""
    return shape[:0:-1] or shape
