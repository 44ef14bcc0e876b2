"""JPEG and WebP files with what repeats them: the record and the digital source type in XMP, `parameters` in EXIF."""

import hashlib
import io
import struct
from collections.abc import Iterator

from PIL import Image

from sfumato.errors import InputError
from sfumato.media.image.exif import exif_bytes
from sfumato.media.infotext import infotext
from sfumato.media.protocol import Record
from sfumato.media.record import record_text
from sfumato.media.xmp import EXTENDED, RECORD, SOURCE_TYPE, xmp, xmp_packet

QUALITY = 95
"""Of a JPEG."""
XMP_SEGMENT, EXTENSION_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
"""The beginnings of a JPEG's segments that hold a packet, or a part of a second one (ISO 16684-3)."""
_MOST_SEGMENT = 65_533
_PART = 65_000
_MOST_WEBP = 16_383


def jpeg(image: Image.Image, record: Record | None = None, source: str | None = None) -> bytes:
    """A JPEG file of quality 95, its colours in full resolution (4:4:4).

    A segment holds 64 kB: a longer record goes on in an extended packet, and longer `parameters` are left out.
    """
    exif = _exif(record)
    options = {"exif": exif} if len(exif) <= _MOST_SEGMENT else {}
    buffer = io.BytesIO()
    segments = b"".join(_segment(data) for data in _packets(_properties(record, source)))
    image.save(buffer, "JPEG", quality=QUALITY, subsampling=0, extra=segments, **options)
    return buffer.getvalue()


def webp(image: Image.Image, record: Record | None = None, source: str | None = None) -> bytes:
    """A WebP file that keeps the very pixels (lossless); an `InputError` for a side that the format does not have."""
    if max(image.size) > _MOST_WEBP:
        raise InputError(f"a WebP has at most {_MOST_WEBP:,} pixels a side, not {max(image.size):,}: write a PNG")
    properties = _properties(record, source)
    packet = xmp_packet(properties) if properties else b""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, exif=_exif(record), xmp=packet)
    return buffer.getvalue()


def _properties(record: Record | None, source: str | None) -> dict[str, str]:
    """The properties of the packet."""
    found = {} if source is None else {SOURCE_TYPE: source}
    return found if record is None else found | {RECORD: record_text(record, ascii=True)}


def _exif(record: Record | None) -> bytes:
    parameters = infotext(record) if record is not None else ""
    return exif_bytes(parameters) if parameters else b""


def _packets(properties: dict[str, str]) -> Iterator[bytes]:
    """The segments of a packet: one, or, where it is too long, one and the parts of a second that holds the record."""
    packet = XMP_SEGMENT + xmp_packet(properties)
    if len(packet) <= _MOST_SEGMENT:
        yield from [packet] if properties else []
        return
    second = xmp({RECORD: properties[RECORD]}).encode()
    digest = hashlib.md5(second, usedforsecurity=False).hexdigest().upper()
    yield XMP_SEGMENT + xmp_packet({**properties, RECORD: "", EXTENDED: digest})
    for start in range(0, len(second), _PART):
        place = struct.pack(">II", len(second), start)
        yield EXTENSION_SEGMENT + digest.encode() + place + second[start : start + _PART]


def _segment(data: bytes) -> bytes:
    """A segment APP1 of a JPEG."""
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
