"""From the bytes of a sound file to samples of one rate, without trusting them."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from sfumato.errors import DataError
from sfumato.extras import import_extra
from sfumato.media.image.decode import POINTER, is_pointer
from sfumato.wording import QUOTED, brief, shortened

STARTS = {b"RIFF": ("WAV", "WAVEX"), b"RF64": ("RF64",), b"fLaC": ("FLAC",), b"OggS": ("OGG",)}
"""The first bytes of the files that are read, and what the library calls their formats: no other of its decoders is
ever tried."""

MOST_DECODED = 2**27
"""Samples times channels of one file: 50 minutes of mono at 44,100 Hz; 512 MiB while it is decoded."""
MOST_CHANNELS = 64
RATES = (1_000, 768_000)
MARGIN = 4096
"""Samples read beyond a size that is wanted: what the resampling filter reaches over."""
_SOUND = "a sound (WAV, FLAC, OGG)"
_BLOCK = 2**16
_UNKNOWN = 0x7FFF0000
"""From so many bytes on, the length in a WAV's header means that it was not known."""


def read_sound(data: bytes, name: str, rate: int, channels: int, size: int | None = None) -> npt.NDArray[np.int16]:
    """The sound in `data`, WAV, FLAC or OGG, as int16 [channels, samples] at `rate` samples a second.

    The format is read from the bytes, never from the name, and the length from the header is bounded by `MOST_DECODED`
    before anything is decoded. Other numbers of channels are mixed by their mean, which each channel then holds;
    other rates are resampled by soxr (very high quality). With a `size` in samples at `rate`, what follows is left out,
    and silence stands after what is shorter. Values beyond [−1, 1) are clipped; rounding is to the nearest, without
    dither.

    Raises a `DataError`, naming the file, for anything that is not a whole sound within the bounds, and an `InputError`
    where the libraries are not installed.
    """
    shown = brief(name)
    if not data:
        raise DataError(f"{shown}: expected a sound, came an empty file; replace it or take it out")
    soundfile = import_extra("soundfile", "audio", shown)
    try:
        found, own = _read(soundfile, data, rate, size)
    except _Refused as error:
        raise DataError(f"{shown}: {error}; replace it or take it out") from error
    except Exception as error:  # the library raises several kinds on broken bytes
        if isinstance(error, MemoryError):
            raise
        # what the library says without the address of the object that it read, which differs from run to run
        detail = shortened(getattr(error, "error_string", str(error)), QUOTED) or "no reason given"
        raise DataError(
            f"{shown}: expected a whole sound, came damaged or hostile data ({type(error).__name__}: {detail}); replace"
            " it or take it out"
        ) from error
    mixed = _mixed(found, channels)
    if own != rate:
        mixed = import_extra("soxr", "audio", shown).resample(mixed, own, rate, quality="VHQ")
    return to_int16(_sized(mixed, size).T)


def to_int16(sound: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int16]:
    """Samples in [−1, 1) as 16-bit integers: 32,768 times as large, rounded to the nearest (half to even), clipped."""
    return np.ascontiguousarray(np.rint(sound * 32768).clip(-32768, 32767)).astype(np.int16)


class _Refused(Exception):
    """A sound that is not decoded."""


def _read(soundfile: Any, data: bytes, rate: int, size: int | None) -> tuple[npt.NDArray[np.float32], int]:
    """The samples [n, channels] as they are in the file, or as many as `size` needs, and their rate."""
    if not (known := STARTS.get(data[:4], ())):
        raise _Refused(f"expected {_SOUND}, came {POINTER if is_pointer(data) else 'something else'}")
    if missing := _missing(data):
        raise _Refused(f"expected a whole sound, came one without its last {missing:,} bytes")
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        _check_header(file, known)
        own, wanted = file.samplerate, file.frames
        if size is not None:
            wanted = min(wanted, -(-size * own // rate) + MARGIN * max(1, -(-own // rate)))
        if wanted * file.channels > MOST_DECODED:
            came = f"{wanted * file.channels:,}"
            raise _Refused(f"expected at most {MOST_DECODED:,} samples, came {came}: cut it into parts")
        found = _blocks(file, wanted)
    if len(found) < wanted:
        raise _Refused(f"expected a whole sound, came {len(found):,} of the {wanted:,} samples that its header names")
    if not np.isfinite(found).all():
        raise _Refused("expected finite samples, came one that is not")
    return found, own


def _check_header(file: Any, known: tuple[str, ...]) -> None:
    """Refuse a sound of another format, without samples, or of a rate or number of channels that no sound has."""
    if file.format not in known:
        raise _Refused(f"expected {_SOUND}, came {brief(file.format)}")
    if not RATES[0] <= file.samplerate <= RATES[1] or not 1 <= file.channels <= MOST_CHANNELS:
        bounds = f"at most {MOST_CHANNELS} channels and {RATES[0]:,} to {RATES[1]:,} Hz"
        raise _Refused(f"expected {bounds}, came {file.channels} and {file.samplerate:,} Hz")
    if file.frames < 1:
        raise _Refused("expected a sound, came one without samples")


def _missing(data: bytes) -> int:
    """The bytes that a WAV lacks of the samples that its header names; 0 where it names no length, as a program does
    that writes into a pipe. The library takes what is there."""
    place = 12
    while data[:4] == b"RIFF" and place + 8 <= len(data):
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name == b"data":
            return max(place + 8 + size - len(data), 0) if size < _UNKNOWN else 0
        place += 8 + size + size % 2
    return 0


def _blocks(file: Any, wanted: int) -> npt.NDArray[np.float32]:
    """So many samples, read in blocks: a header that names more than there are takes no memory for them."""
    parts: list[npt.NDArray[np.float32]] = []
    while wanted > 0 and len(part := file.read(min(wanted, _BLOCK), dtype="float32", always_2d=True)):
        parts.append(part)
        wanted -= len(part)
    return np.concatenate(parts) if parts else np.zeros((0, file.channels), np.float32)


def _mixed(found: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """[n, c] → [n, channels]: as it is, or the mean in each channel."""
    if found.shape[1] == channels:
        return found
    return np.repeat(found.mean(1, keepdims=True, dtype=np.float32), channels, axis=1)


def _sized(sound: npt.NDArray[np.float32], size: int | None) -> npt.NDArray[np.float32]:
    """The first `size` samples of [n, c], silence after them where there are fewer."""
    if size is None:
        return sound
    return np.pad(sound[:size], ((0, max(size - len(sound), 0)), (0, 0)))
