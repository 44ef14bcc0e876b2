"""Networks over texts: token ids [b, k]."""

from sfumato.nn.text.token_transformer import TokenTransformer
from sfumato.nn.text.transformer import TextTransformer
from sfumato.nn.text.with_text import WithText

__all__ = ["TextTransformer", "TokenTransformer", "WithText"]
