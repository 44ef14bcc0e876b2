"""Conditioners: from a prompt, as a person gives it, to a `Condition`, as a network takes it."""

from sfumato.condition.label import Conditioner, Labels, Nothing, Prompt

__all__ = ["Conditioner", "Labels", "Nothing", "Prompt"]
