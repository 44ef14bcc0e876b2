"""Pictures: decoded from files without trusting them, brought to one form, written with their record, shown on sheets.

The one place below the command line where Pillow is imported, the readers of data apart.
"""

from sfumato.media.image.color import parse_color
from sfumato.media.image.decode import decode
from sfumato.media.image.medium import Image
from sfumato.media.image.png import png
from sfumato.media.image.sheet import sheet, to_image
from sfumato.media.image.texts import read_texts
from sfumato.media.image.transform import Fit, to_array

__all__ = ["Fit", "Image", "decode", "parse_color", "png", "read_texts", "sheet", "to_array", "to_image"]
