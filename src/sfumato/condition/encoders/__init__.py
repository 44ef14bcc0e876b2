"""Text encoders that were trained before and stay as they are, and their tokenizers."""

from sfumato.condition.encoders.minilm import MiniLM
from sfumato.condition.encoders.pretrained import Pretrained
from sfumato.condition.encoders.protocol import TextEncoder

__all__ = ["MiniLM", "Pretrained", "TextEncoder"]
