"""Conditioners: from a prompt, as a person gives it, to a `Condition`, as a network takes it."""

from sfumato.condition.label import Conditioner, Labels, Nothing, Prompt
from sfumato.condition.minilm import MiniLM
from sfumato.condition.text import Text

__all__ = ["Conditioner", "Labels", "MiniLM", "Nothing", "Prompt", "Text"]
