"""Conditions for texts."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import torch
from torch import nn

from sfumato.condition.cached import CachedText, captions_size
from sfumato.condition.encoders.minilm import MiniLM
from sfumato.condition.encoders.protocol import TextEncoder
from sfumato.condition.normalize import normalize
from sfumato.condition.protocol import Conditioner, Prompt, TrainingFiles
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import InputError

SHORTEST = 4
C = TypeVar("C", bound=Any)


@dataclass(frozen=True)
class EncodedText(Conditioner):
    """A text in any words, as the vectors that `encoder` gives for it.

    The vector of the whole text, scaled to a mean square of 1, the size that networks expect, is the input
    `vector`; those of its tokens, at most `length`, are `context`. The empty prompt is the encoding of "". A prompt
    is read as `normalize` gives it, and ends where `truncated` begins.
    """

    encoder: TextEncoder = MiniLM()
    length: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not SHORTEST <= self.length <= self.encoder.longest:
            raise InputError(
                f"length must be from {SHORTEST} to {self.encoder.longest:,}, what the encoder reads, not {self.length}"
            )

    @property
    def widths(self) -> dict[str, int]:
        return {"vector": self.encoder.pooled, "context": self.encoder.width}

    @torch_defaults()
    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        texts = [self.normalize(prompt) for prompt in prompts]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}  # each text is encoded once
        encoded = self.encoder([self.encoder.tokenizer.ids(text, self.length) for text in places])
        assert encoded.vector is not None
        size = encoded.vector.square().mean(1, keepdim=True).sqrt()
        encoded = replace(encoded, vector=encoded.vector / size.clamp(min=1e-6))
        rows = torch.tensor([places[text] for text in texts])
        return encoded.map(lambda value: value[rows.to(value.device)])

    def normalize(self, prompt: Prompt) -> str:
        """The prompt as the encoder sees it: emoji by their names, single spaces."""
        return normalize(prompt)

    def check_prompt(self, prompt: Prompt) -> None:
        self.normalize(prompt)

    def truncated(self, prompt: Prompt) -> str:
        """The end of the prompt that is lost, because only `length` tokens are read; "" if nothing is."""
        return self.encoder.tokenizer.truncated(self.normalize(prompt), self.length)

    def fingerprint(self) -> str:
        """A line that changes whenever the vectors for a text, as `normalize`, may."""
        return f"{self.encoder.fingerprint()} length {self.length} scaled"

    def to(self, device: torch.device | str) -> Self:
        self.encoder.to(device)
        return self

    def sharing(self, other: Conditioner) -> Self:
        return sharing_encoder(self, other)

    def check(self, network: nn.Module) -> None:
        self.encoder.check()

    def training_size(self, files: TrainingFiles, captions: Iterable[Prompt]) -> int:
        return 0 if files.captions.exists() else captions_size(self, captions)

    def for_training(
        self, files: TrainingFiles, captions: Iterable[Prompt], progress: Callable[[int, int], None]
    ) -> Conditioner:
        return CachedText(self, captions, files.captions, progress)


def sharing_encoder(own: C, other: Conditioner) -> C:
    """The conditioner with the encoder of the `other`, if the two are equal."""
    encoder = getattr(other, "encoder", None)
    return replace(own, encoder=encoder) if encoder == own.encoder else own
