"""Conditioners: from a prompt, as a person gives it, to a `Condition`, as a network takes it."""

from sfumato.condition.cached import CachedText, captions_size
from sfumato.condition.clip import ClipText
from sfumato.condition.encoder import TextEncoder
from sfumato.condition.label import Conditioner, Labels, Nothing, Prompt
from sfumato.condition.minilm import MiniLM
from sfumato.condition.pretrained import Pretrained
from sfumato.condition.text import Text
from sfumato.condition.token_ids import TokenIds, fit_tokenizer

__all__ = [
    "CachedText",
    "ClipText",
    "Conditioner",
    "Labels",
    "MiniLM",
    "Nothing",
    "Pretrained",
    "Prompt",
    "Text",
    "TextEncoder",
    "TokenIds",
    "captions_size",
    "fit_tokenizer",
]
