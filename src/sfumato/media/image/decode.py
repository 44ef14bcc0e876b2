"""From the bytes of a file to a picture, without trusting them."""

import io

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sfumato.errors import DataError
from sfumato.wording import QUOTED, brief, shortened

# Named one by one, so that no other of Pillow's decoders is ever tried on a file.
_DECODERS = (
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    TiffImagePlugin.TiffImageFile,
    WebPImagePlugin.WebPImageFile,
)
FORMATS = tuple(str(decoder.format) for decoder in _DECODERS)
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

MAX_PIXELS = 64 * 2**20
# A picture one pixel wide and millions high is small, but what a resize makes of it on the way is not.
MAX_SIDE = 65_535

POINTER = "a pointer of Git LFS, whose files `git lfs pull` fetches"

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, name: str, *, limit: int = MAX_PIXELS) -> Image.Image:
    """The picture in `data`: the first frame, decoded in full, turned as its EXIF orientation says.

    The format is read from the bytes, never from the name. `limit` bounds width x height in pixels, by the header,
    before anything is decoded. The mode stays the file's own (`to_array` brings every mode to one form).

    Raises DataError, naming the file, for anything that is not a whole picture of a known format within the limit.
    """
    shown = brief(name)
    if not data:
        raise DataError(f"{shown}: expected a picture, came an empty file; replace it or take it out")
    try:
        with _open(data, limit) as image:
            image.verify()
        with _open(data, limit) as image:
            image.load()
            return _upright(image)
    except Exception as error:  # Pillow raises many kinds on broken bytes, and the list grows with each version
        raise DataError(f"{shown}: {_reason(error, data)}; replace it or take it out") from error


def is_pointer(data: bytes) -> bool:
    """Whether the bytes are what Git LFS leaves in the place of a file that it has not fetched."""
    return data.startswith(b"version https://git-lfs")


class _Refused(Exception):
    """A picture too large to decode."""


def _open(data: bytes, limit: int) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > limit or max(width, height) > MAX_SIDE:
        raise _Refused(f"expected at most {limit:,} pixels and {MAX_SIDE:,} a side, came {width}x{height}")
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing about the pixels, which are whole
        turn = None
    return image.copy() if turn is None else image.transpose(turn)


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        return f"expected a picture ({', '.join(FORMATS)}), came {POINTER if is_pointer(data) else 'something else'}"
    detail = shortened(str(error), QUOTED) or "no reason given"
    return f"expected a whole picture, came damaged or hostile data ({type(error).__name__}: {detail})"
