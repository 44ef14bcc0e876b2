"""The texts in a picture's file, ours and other tools', from its metadata alone."""

import hashlib
import io
import struct
import warnings
from pathlib import Path

from PIL import Image

from sfumato.disk import open_file
from sfumato.errors import FormatError
from sfumato.files import readable
from sfumato.media.image.compressed import EXTENSION_SEGMENT
from sfumato.media.image.exif import read_exif
from sfumato.media.image.png import XMP
from sfumato.media.record import KEY, MOST_RECORD, SOURCE
from sfumato.media.xmp import EXTENDED, RECORD, SOURCE_TYPE, read_xmp
from sfumato.wording import brief

_FORMATS = ("PNG", "JPEG", "WEBP")
_MOST_WEBP = 2**28
"""The most bytes of a WebP that are read; of the others, whose metadata stands first, it is `MOST_RECORD`."""


def read_texts(path: Path) -> dict[str, str]:
    """The texts in a PNG, JPEG or WebP by their names; no pixel is decoded. Ours are the record, `record.KEY`, and the
    digital source type, `record.SOURCE`; other tools' are `parameters`, `prompt` and whatever a PNG has.

    Raises a `FormatError` for another file, or one whose header is damaged.
    """
    with readable(path), open_file(path) as file:
        data = file.read(MOST_RECORD)
        if data.startswith(b"RIFF"):  # where it lies behind the pixels
            data += file.read(_MOST_WEBP)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return _texts(image)
    except Image.UnidentifiedImageError as error:
        raise FormatError(f"{path} cannot be read as a PNG, JPEG or WebP: it is something else, or damaged") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} cannot be read as a PNG, JPEG or WebP: {brief(str(error))}") from error


def _texts(image: Image.Image) -> dict[str, str]:
    """A chunk of a PNG goes before EXIF, and EXIF before XMP."""
    info = image.info
    exif, packet = info.get("exif"), info.get("xmp")
    held = _packet(image, packet.encode() if isinstance(packet, str) else packet) if packet else {}
    texts = {name: held[key] for name, key in ((KEY, RECORD), (SOURCE, SOURCE_TYPE)) if key in held}
    texts |= read_exif(exif) if isinstance(exif, bytes) else {}
    return texts | {str(name): str(text) for name, text in info.items() if isinstance(text, str) and name != XMP}


def _packet(image: Image.Image, packet: bytes) -> dict[str, str]:
    """The properties of an XMP packet and, in a JPEG, of the one that it names."""
    found = read_xmp(packet)
    digest = found.get(EXTENDED, "")
    head, parts = EXTENSION_SEGMENT + digest.encode(), dict[int, bytes]()
    for _, data in getattr(image, "applist", []) if digest else []:
        if data.startswith(head) and len(data) > len(head) + 8:
            _, start = struct.unpack(">II", data[len(head) : len(head) + 8])
            parts[start] = data[len(head) + 8 :]
    second = b"".join(parts[start] for start in sorted(parts))
    whole = hashlib.md5(second, usedforsecurity=False).hexdigest().upper() == digest
    return found | read_xmp(second) if whole else found
