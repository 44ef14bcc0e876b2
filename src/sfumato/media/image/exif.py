"""The texts in EXIF (CIPA DC-008): a comment, where other tools keep their parameters, and the fields of cameras, where
some keep the rest."""

import struct
import warnings

from PIL import Image
from PIL.ExifTags import IFD, Base

_UNICODE = b"UNICODE\0"
_SPELLED = (_UNICODE, b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8))
_LABELLED = (Base.Make, Base.Model, Base.ImageDescription)


def exif_bytes(comment: str) -> bytes:
    """EXIF whose UserComment is a text, in UTF-16 of the byte order that the block has, big-endian.

    By hand: Pillow gives the comment the type BYTE, and readers look for UNDEFINED.
    """
    data = _UNICODE + comment.encode("utf-16-be")
    pointer = struct.pack(">HHHIII", 1, IFD.Exif, 4, 1, 26, 0)
    entry = struct.pack(">HHHIII", 1, Base.UserComment, 7, len(data), 44, 0)
    return b"Exif\0\0MM\0\x2a\0\0\0\x08" + pointer + entry + data


def read_exif(data: bytes) -> dict[str, str]:
    """The texts in EXIF of anybody's: the comment as `parameters`, and those that begin with a name and a colon, as
    "prompt:{…}"; of what is damaged, none."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load(data)
            comment = exif.get_ifd(IFD.Exif).get(Base.UserComment)
            labelled = [exif.get(tag) for tag in _LABELLED]
    except Exception:  # Pillow raises many kinds on broken bytes
        return {}
    texts = {"parameters": _comment(comment)} if isinstance(comment, bytes) else {}
    for text in labelled:
        name, colon, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
        if colon and name.isidentifier():
            texts[name.lower()] = rest.rstrip("\0")
    return {name: text for name, text in texts.items() if text}


def _comment(data: bytes) -> str:
    """The text of a comment: eight bytes name its encoding. Tools differ in the byte order of UTF-16."""
    code, text = (data[:8], data[8:]) if data[:8] in _SPELLED else (b"", data)
    if code != _UNICODE:
        return text.decode("utf-8", "replace").strip("\0 ")
    text = text[: len(text) // 2 * 2]
    big = sum(unit < 128 for (unit,) in struct.iter_unpack(">H", text))
    little = sum(unit < 128 for (unit,) in struct.iter_unpack("<H", text))
    return text.decode("utf-16-be" if big >= little else "utf-16-le", "replace").strip("\0\ufeff ")
