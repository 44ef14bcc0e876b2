"""What training reads: data of one form, and all that is known of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Skipped:
    """A picture that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """n pictures of one size, ready to train on, and all that is known of them.

    `stored` is uint8 [n, c, h, w], 0 to 255, in memory or mapped from a file; `labels` is int64 [n], or None without
    classes; `captions` holds none, one or several a picture. A class keeps its place in `classes` even if all its
    pictures were left out. `fingerprint` is a SHA-256 over the source's own, what was left out and the settings;
    `contents` one over the bytes that each picture was read from.
    """

    stored: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    captions: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    fingerprint: str
    contents: str = ""

    def __len__(self) -> int:
        return len(self.names)
