"""PNG files with a record in a text chunk."""

import io
from pathlib import Path

from PIL import Image, PngImagePlugin

from sfumato.disk import open_file
from sfumato.errors import FormatError
from sfumato.files import readable
from sfumato.media.protocol import Record
from sfumato.media.record import KEY, MOST_RECORD, parse_record, record_text
from sfumato.wording import brief


def png(image: Image.Image, record: Record) -> bytes:
    """A PNG file that carries `record` in a text chunk, before the pixels."""
    text = PngImagePlugin.PngInfo()
    text.add_itxt(KEY, record_text(record))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def read_png(path: Path) -> Record:
    """The record inside a PNG that `png` made; no pixel is decoded."""
    with readable(path), open_file(path) as file:
        head = file.read(MOST_RECORD)
    try:
        with Image.open(io.BytesIO(head), formats=["PNG"]) as image:
            text = image.info.get(KEY)
    except Image.UnidentifiedImageError as error:
        raise FormatError(f"{path} cannot be read as a PNG: it is something else, or damaged") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FormatError(f"{path} cannot be read as a PNG: {brief(str(error))}") from error
    return parse_record(text, path)
