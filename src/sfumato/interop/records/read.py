"""Whose record a picture carries, by its texts."""

from pathlib import Path

from sfumato.interop.records.a1111 import read_a1111
from sfumato.interop.records.comfyui import read_comfyui
from sfumato.interop.records.invokeai import read_invokeai
from sfumato.interop.records.record import ForeignRecord
from sfumato.interop.records.swarmui import read_swarmui
from sfumato.media.image.texts import read_texts

_READERS = (read_swarmui, read_invokeai, read_comfyui, read_a1111)


def read_foreign(path: Path) -> ForeignRecord | None:
    """The record of another tool in a PNG, JPEG or WebP; None where there is none that is known here.

    Raises a `FormatError` for a file that is no such picture, or whose record is damaged.
    """
    texts = read_texts(path)
    return next((found for read in _READERS if (found := read(texts)) is not None), None)
