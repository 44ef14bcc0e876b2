"""Texts: as token ids that lose nothing, written beside their record, shown as pages."""

from sfumato.media.text.medium import Text
from sfumato.media.text.tokens import fit_text_tokenizer

__all__ = ["Text", "fit_text_tokenizer"]
