"""The words of other tools, one table for each kind, and what they are here."""

from sfumato.foreign.drawing import own_arguments
from sfumato.foreign.samplers import own_sampler, own_spacing

__all__ = ["own_arguments", "own_sampler", "own_spacing"]
