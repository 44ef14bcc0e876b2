"""Conditioners: from a prompt, as a person gives it, to a `Condition`, as a network takes it."""

from sfumato.condition.cached import CachedText, captions_size
from sfumato.condition.clip.text import ClipText
from sfumato.condition.encoders.minilm import MiniLM
from sfumato.condition.encoders.pretrained import Pretrained
from sfumato.condition.encoders.protocol import TextEncoder
from sfumato.condition.labels import Labels, Nothing
from sfumato.condition.protocol import Conditioner, Prompt
from sfumato.condition.text import EncodedText
from sfumato.condition.things import CachedPhrases, Phrases
from sfumato.condition.token_ids import TokenIds, fit_tokenizer

__all__ = [
    "CachedPhrases",
    "CachedText",
    "ClipText",
    "Conditioner",
    "EncodedText",
    "Labels",
    "MiniLM",
    "Nothing",
    "Phrases",
    "Pretrained",
    "Prompt",
    "TextEncoder",
    "TokenIds",
    "captions_size",
    "fit_tokenizer",
]
