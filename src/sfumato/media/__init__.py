"""Media: pictures, sounds, texts and embeddings as files, as stored numbers and as pictures to look at.

To add one, write its class in a module of this package and name it in `parts.MEDIA`.
"""

from sfumato.media.audio import Audio
from sfumato.media.embedding import Embedding
from sfumato.media.image import Image
from sfumato.media.protocol import Medium, Record, Size
from sfumato.media.text import Text

__all__ = ["Audio", "Embedding", "Image", "Medium", "Record", "Size", "Text"]
