"""A conditioner: from prompts, as people write them, to what a network is conditioned on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sfumato.condition import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.errors import InputError, quoted


@dataclass(frozen=True)
class Hour(Conditioner):
    """A time of the day, "6:30": a point on the circle, and whether there is one, in a vector of 3.

    It reads the captions of a data set, so `6:30` in a .txt beside a picture trains it.
    """

    dropout: float = 0.1
    reads = "captions"

    @property
    def widths(self) -> dict[str, int]:
        return {"vector": 3}

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        return Condition(vector=torch.tensor([self._vector(prompt) for prompt in prompts], dtype=torch.float32))

    def _vector(self, prompt: Prompt) -> list[float]:
        """Zero for the empty prompt, which asks for anything."""
        if prompt in (None, ""):
            return [0.0, 0.0, 0.0]
        hours, _, minutes = str(prompt).partition(":")
        if not (hours.isdecimal() and minutes.isdecimal() and int(hours) < 24 and int(minutes) < 60):
            raise InputError(f"a time of the day reads HOURS:MINUTES, as in 6:30, not {quoted(prompt)}")
        angle = 2 * math.pi * (int(hours) + int(minutes) / 60) / 24
        return [math.cos(angle), math.sin(angle), 1.0]
