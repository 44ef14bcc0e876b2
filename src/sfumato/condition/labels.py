"""Conditions for class labels, and for none at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sfumato.condition.protocol import Conditioner, Prompt
from sfumato.core.condition import Condition
from sfumato.errors import InputError, nearest, quoted
from sfumato.wording import folded, shortened, well_formed


@dataclass(frozen=True)
class Nothing(Conditioner):
    """No condition: the only prompt is None."""

    reads = "nothing"

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        for prompt in prompts:
            if prompt not in (None, ""):
                raise InputError(f"this system draws without a prompt, and got {quoted(prompt)}: leave the prompt out")
        return Condition()


@dataclass(frozen=True)
class Labels(Conditioner):
    """One of `classes`, by name or by index: a one-hot vector, all zero for the empty prompt."""

    classes: tuple[str, ...]
    dropout: float = 0.1
    reads = "labels"

    @property
    def widths(self) -> dict[str, int]:
        return {"vector": len(self.classes)}

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        vector = torch.zeros(len(prompts), len(self.classes), dtype=torch.float32)
        for row, prompt in zip(vector, prompts, strict=True):
            if prompt not in (None, ""):
                row[self.index(prompt)] = 1.0
        return Condition(vector=vector)

    def index(self, prompt: str | int) -> int:
        """The index of a class: a whole number is one already, a text is a name first and then a number.

        A class of several names, with commas between, is known by each; the first class of a name has it. Where no
        name is spelled so, neither case counts nor whether accents are letters of their own (Unicode's NFC and NFD).
        """
        if not isinstance(prompt, str | int) or isinstance(prompt, bool):
            raise InputError(f"a class is given by its name or its number, not by {quoted(prompt)}")
        text = well_formed(str(prompt)).strip()
        if isinstance(prompt, str):
            asked = folded(text)
            for names, name in ((self.classes, well_formed(prompt)), ([folded(c) for c in self.classes], asked)):
                if name in names:
                    return names.index(name)
            for index, names in enumerate(self.classes):
                if asked in [folded(name.strip()) for name in names.split(",")]:
                    return index
        if text.isdecimal() and len(text) < 20 and int(text) < len(self.classes):
            return int(text)
        raise InputError(
            f"there is no class '{shortened(text, 100)}' here; {nearest(shortened(text, 100), self.classes)}"
        )
