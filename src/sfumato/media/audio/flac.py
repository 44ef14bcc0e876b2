"""FLAC files with a record among their Vorbis comments, as the field SFUMATO, which players and editors keep; and with
a digital source type, as the field DIGITALSOURCETYPE, for which there is no standard.

See RFC 9639, sections 8.1 and 8.6.
"""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from sfumato.errors import FormatError
from sfumato.extras import import_extra
from sfumato.media.protocol import Record
from sfumato.media.record import KEY, MOST_RECORD, SOURCE, parse_record, record_text

_MOST_BLOCKS = 1000
"""The most blocks of metadata that are looked through for a record."""
_COMMENTS = 4
_FIELD = f"{KEY.upper()}="


def flac(sound: npt.NDArray[np.int16], rate: int, record: Record | None = None, source: str | None = None) -> bytes:
    """A FLAC file of samples int16 [channels, samples] that carries `record` and its digital source type in comments.

    Raises an `InputError` where soundfile is not installed.
    """
    soundfile = import_extra("soundfile", "audio", "a FLAC file")
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, rate, format="FLAC", subtype="PCM_16")
    data = buffer.getvalue()
    blocks, place = [(_COMMENTS, _vorbis(record, source))], 4
    while place < len(data):
        kind, size = data[place], int.from_bytes(data[place + 1 : place + 4], "big")
        if kind & 0x7F != _COMMENTS:
            blocks.append((kind & 0x7F, data[place + 4 : place + 4 + size]))
        place += 4 + size
        if kind & 0x80:
            break
    blocks.sort(key=lambda block: block[0] != 0)  # STREAMINFO comes first
    return b"fLaC" + b"".join(_block(*block, last=block is blocks[-1]) for block in blocks) + data[place:]


def read_flac(file: BinaryIO, path: Path) -> Record:
    """The record inside a FLAC file, open behind its first four bytes; no sample is read."""
    for _ in range(_MOST_BLOCKS):
        head = file.read(4)
        if len(head) < 4:
            raise FormatError(f"{path} cannot be read as a FLAC: it ends within its header")
        size = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == _COMMENTS:
            return parse_record(_comment(file.read(min(size, MOST_RECORD))), path)
        if head[0] & 0x80:
            break
        file.seek(size, 1)
    return parse_record(None, path)


def _block(kind: int, data: bytes, last: bool) -> bytes:
    """A block of metadata."""
    return bytes([kind | 0x80 * last]) + len(data).to_bytes(3, "big") + data


def _vorbis(record: Record | None, source: str | None) -> bytes:
    """A vendor, then the number of comments and these, each text with its length before it."""
    comments = [] if record is None else [_FIELD + record_text(record)]
    comments += [] if source is None else [f"{SOURCE.upper()}={source}"]
    vendor, *held = (struct.pack("<I", len(text)) + text for text in map(str.encode, [KEY, *comments]))
    return vendor + struct.pack("<I", len(held)) + b"".join(held)


def _comment(data: bytes) -> str | None:
    """The record's text among comments; None if it is not there, or they are damaged."""
    view = memoryview(data)
    size = _length(view)
    view = view[4 + size :]
    number, view = _length(view), view[4:]
    for _ in range(min(number, len(view) // 4)):
        size = _length(view)
        text = bytes(view[4 : 4 + size])
        if text.upper().startswith(_FIELD.encode()):
            return text[len(_FIELD) :].decode("utf-8", "replace")
        view = view[4 + size :]
    return None


def _length(view: memoryview) -> int:
    """The number that the first four bytes spell; 0 if there are fewer."""
    return struct.unpack("<I", view[:4])[0] if len(view) >= 4 else 0
