"""PNG files with what repeats them in text chunks."""

import io

from PIL import Image, PngImagePlugin

from sfumato.media.infotext import infotext
from sfumato.media.protocol import Record
from sfumato.media.record import KEY, record_text
from sfumato.media.xmp import SOURCE_TYPE, xmp_packet

XMP = "XML:com.adobe.xmp"
"""The chunk of an XMP packet."""


def png(image: Image.Image, record: Record | None = None, source: str | None = None) -> bytes:
    """A PNG file that carries `record`, `parameters` and its digital source type in text chunks, before the pixels."""
    text = PngImagePlugin.PngInfo()
    if record is not None:
        text.add_itxt(KEY, record_text(record))
        if parameters := infotext(record):
            text.add_text("parameters", parameters)
    if source is not None:
        text.add_itxt(XMP, xmp_packet({SOURCE_TYPE: source}).decode())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()
