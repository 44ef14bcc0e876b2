"""Media: pictures, sounds, texts, embeddings and layouts as files, as stored numbers and as pictures to look at.

To add one, write its class in a module of this package and name it in `parts.MEDIA`.
"""

from sfumato.media.audio import Audio
from sfumato.media.embedding import Embedding
from sfumato.media.image import Image
from sfumato.media.layout import Layout
from sfumato.media.protocol import Medium, Record, Size
from sfumato.media.text import Text

__all__ = ["Audio", "Embedding", "Image", "Layout", "Medium", "Record", "Size", "Text"]
