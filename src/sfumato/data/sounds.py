"""Sounds in arrays: as they lie in .npz files, and as the files that they become."""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sfumato.errors import DataError, ShapeError
from sfumato.media.audio.decode import to_int16
from sfumato.media.audio.medium import MOST_SAMPLES
from sfumato.wording import brief

MAX_RATE = 384_000


@dataclass(frozen=True, eq=False)
class Sounds:
    """Sounds int16 [n, samples] of one `rate`, in samples a second; each is read as the bytes of a WAV file, so that a
    sound in an array and one in a file are decoded alike."""

    samples: npt.NDArray[np.int16]
    rate: int

    def __call__(self, i: int) -> bytes:
        data = self.samples[i].astype("<i2").tobytes()
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, self.rate, 2 * self.rate, 2, 16)
        body = b"WAVE" + form + struct.pack("<4sI", b"data", len(data)) + data
        return struct.pack("<4sI", b"RIFF", len(body)) + body


def sounds_of(array: npt.NDArray[Any], rate: npt.NDArray[Any] | None, where: str) -> Sounds:
    """Sounds from int16 or floating-point numbers in [−1, 1], [n, samples], and their rate, one whole number.

    Floats become `round(32768·x)`, clipped. Raises ShapeError for another shape, DataError for another type, for
    numbers beyond 1 and for a rate that is none, naming `where`.
    """
    if array.ndim != 2:
        raise ShapeError(f"{where}: expected sounds of shape (n, samples), came {array.shape}; reshape it")
    if not 1 <= array.shape[1] <= MOST_SAMPLES or not len(array):
        raise DataError(f"{where}: expected sounds of 1 to 2**26 samples, came the shape {array.shape}; cut them")
    if rate is None or rate.ndim or rate.dtype.kind not in "iu" or not 1 <= int(rate) <= MAX_RATE:
        came = "none" if rate is None else brief(str(rate))
        wanted = f"expected 'rate', the samples a second, a whole number up to {MAX_RATE:,}"
        raise DataError(f"{where}: {wanted}, came {came}; save it beside the sounds")
    if array.dtype.kind == "f":
        largest = float(np.abs(array).max())
        if not largest <= 1:
            raise DataError(f"{where}: expected sounds in [-1, 1], came numbers up to {largest:g}; scale them")
        array = to_int16(array)
    if array.dtype != np.int16:
        raise DataError(f"{where}: expected sounds of int16 or floats, came {array.dtype}; convert them")
    return Sounds(array, int(rate))
