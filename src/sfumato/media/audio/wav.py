"""WAV files of 16-bit samples, written and read for their record without any library.

The record is the comment (ICMT) of the LIST/INFO chunk, before the samples, in ASCII: players skip it, and editors that
keep comments, as ffmpeg does, keep it. See the RIFF specification (Microsoft and IBM, 1991), chapters 2 and 3. The
digital source type is in an XMP packet, in the chunk _PMX, which the specification of XMP (part 3) names for it.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from sfumato.errors import FormatError
from sfumato.media.protocol import Record
from sfumato.media.record import KEY, MOST_RECORD, parse_record, record_text
from sfumato.media.xmp import SOURCE_TYPE, xmp_packet

_MOST_CHUNKS = 1000
"""The most chunks of a file that are looked through for its record."""
_MARK = f"{KEY} "
"""Stands before a record among comments."""


def wav(sound: npt.NDArray[np.int16], rate: int, record: Record | None = None, source: str | None = None) -> bytes:
    """A WAV file of samples int16 [channels, samples], little-endian PCM, that carries `record` in its comment, and its
    digital source type."""
    channels = len(sound)
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    chunks = [_chunk(b"fmt ", form)]
    if record is not None:
        text = (_MARK + record_text(record, ascii=True)).encode("ascii") + b"\0"
        chunks.append(_chunk(b"LIST", b"INFO" + _chunk(b"ICMT", text)))
    if source is not None:
        chunks.append(_chunk(b"_PMX", xmp_packet({SOURCE_TYPE: source})))
    chunks.append(_chunk(b"data", sound.T.astype("<i2").tobytes()))
    return _chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def read_wav(file: BinaryIO, path: Path) -> Record:
    """The record inside a WAV file, open behind its first four bytes; no sample is read."""
    if file.read(8)[4:] != b"WAVE":
        raise FormatError(f"{path} cannot be read as a WAV: it is something else, or damaged")
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        read = file.read(min(size, MOST_RECORD)) if name == b"LIST" else b""
        if (text := _comment(read)) is not None:
            return parse_record(text, path)
        file.seek(size - len(read) + size % 2, 1)
    return parse_record(None, path)


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of RIFF, of an even number of bytes."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _comment(data: bytes) -> str | None:
    """The record's text among what a LIST chunk holds; None if it is another list or another's comment."""
    place = 4 if data[:4] == b"INFO" else len(data)
    while place + 8 <= len(data):
        name, size = data[place : place + 4], struct.unpack("<I", data[place + 4 : place + 8])[0]
        text = data[place + 8 : place + 8 + size].rstrip(b"\0").decode("utf-8", "replace")
        if name == b"ICMT" and text.startswith(_MARK):
            return text.removeprefix(_MARK)
        place += 8 + size + size % 2
    return None
