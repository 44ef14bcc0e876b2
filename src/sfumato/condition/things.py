"""Conditions for texts that name several things."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from sfumato.arguments import whole
from sfumato.condition.cached import CachedText, captions_size
from sfumato.condition.colors import NO_COLOR, split_color
from sfumato.condition.encoders.minilm import MiniLM
from sfumato.condition.encoders.protocol import TextEncoder
from sfumato.condition.normalize import as_text
from sfumato.condition.phrases import THINGS, Parsed, phrases, without_white_background
from sfumato.condition.protocol import Conditioner, Prompt, TrainingFiles
from sfumato.condition.text import EncodedText, sharing_encoder
from sfumato.core.condition import Condition
from sfumato.core.defaults import torch_defaults
from sfumato.errors import InputError, quoted

_LAST_WORD = 0.25
_MOST_THINGS, _MOST_NAMES, _LONGEST_NAME = 1000, 5000, 100


@dataclass(frozen=True)
class Phrases(Conditioner):
    """A text and each thing in it: the conditions of `EncodedText`, and `concat` [b, w + 1, 1 + things], column k ≥ 1
    of which holds the vector of the text's k-th phrase, and a 1 below it. Where no thing is, and in column 0, the
    place of the ground in a layout, there are zeros; so they are throughout for the empty prompt.

    A text is taken apart as the function `phrases` does it, of which these are the `names` and the `styles`. That a
    background is white is not read: it is where none is named.
    """

    encoder: TextEncoder = MiniLM()
    length: int = 32
    names: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    things: int = THINGS
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _ = self._text  # which checks the length
        whole("things", self.things, 1, _MOST_THINGS)
        if len(self.names) + len(self.styles) > _MOST_NAMES:
            raise InputError(f"names and styles must be at most {_MOST_NAMES:,}, not {len(self.names):,}")
        for text in (*self.names, *self.styles):
            if not 0 < len(text) <= _LONGEST_NAME:
                raise InputError(f"names and styles have 1 to {_LONGEST_NAME} characters, unlike {quoted(text)}")
        if wrong := [name for name in self.names if name != name.lower()]:
            raise InputError(f"names are in small letters, as phrases.indivisible gives them, not {quoted(wrong[0])}")

    @property
    def widths(self) -> dict[str, int]:
        return {**self._text.widths, "concat": self.encoder.pooled + 1}

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        return self._given(self._text, prompts, [self.parsed(prompt).things for prompt in prompts])

    @torch_defaults()
    def vectors(self, things: Sequence[Sequence[str]], text: Conditioner | None = None) -> Tensor:
        """The phrases of b texts as the input `concat`; nothing is encoded where there are none. `text` encodes them in
        place of the encoder."""
        rows = {phrase: row for row, phrase in enumerate(dict.fromkeys(one for own in things for one in own))}
        found = torch.zeros(len(things), 1 + self.things, self.encoder.pooled + 1, dtype=torch.float32)
        if rows:
            encoded = (text or self._text)([*rows]).vector
            assert encoded is not None
            found = found.to(encoded.device)
            for places, own in zip(found, things, strict=True):
                places[1 : 1 + len(own), :-1] = encoded[[rows[phrase] for phrase in own]]
                places[1 : 1 + len(own), -1] = 1
        return found.transpose(1, 2)

    def placed(self, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """The things of b prompts as `Sprites` takes them: [b, 1 + things, w + 3], of each place the vector of its
        phrase without its colour and that colour, as `split_color` gives it; and a mask [b, 1 + things], true at place
        0, the ground's, and where there is a thing.

        A quarter of a phrase's vector is that of its last word, so that a "ham sandwich", which is no known name, is
        rather a sandwich than ham.
        """
        names = frozenset(self.names)
        split = [[split_color(phrase, names) for phrase in self.parsed(prompt).things] for prompt in prompts]
        whole = [[phrase for phrase, _ in own] for own in split]
        last = [[phrase if phrase in names else phrase.split(" ")[-1] for phrase in own] for own in whole]
        vectors, heads = self.vectors([*whole, *last]).transpose(1, 2).chunk(2)
        vectors = vectors.lerp(heads, _LAST_WORD)
        colors = vectors.new_tensor(NO_COLOR).repeat(*vectors.shape[:2], 1)
        for row, own in enumerate(split):
            for place, (_, color) in enumerate(own, 1):
                colors[row, place] = colors.new_tensor(color)
        mask = vectors[..., -1] > 0
        mask[:, 0] = True
        return torch.cat([vectors[..., :-1], colors], dim=2), mask

    def parsed(self, prompt: Prompt) -> Parsed:
        """What the prompt says: its things, as many as are read, its style and its background."""
        return phrases(as_text(prompt), self.names, self.styles, self.things)

    def normalize(self, prompt: Prompt) -> str:
        """The prompt as the encoder sees it: emoji by their names, single spaces."""
        return self._text.normalize(prompt)

    def check_prompt(self, prompt: Prompt) -> None:
        self.normalize(prompt)

    def truncated(self, prompt: Prompt) -> str:
        return self._text.truncated(prompt)

    def to(self, device: torch.device | str) -> Self:
        self.encoder.to(device)
        return self

    def sharing(self, other: Conditioner) -> Self:
        return sharing_encoder(self, other)

    def check(self, network: nn.Module) -> None:
        self.encoder.check()

    def training_size(self, files: TrainingFiles, captions: Iterable[Prompt]) -> int:
        return 0 if files.captions.exists() else captions_size(self._text, _texts(self._things(captions)))

    def for_training(
        self, files: TrainingFiles, captions: Iterable[Prompt], progress: Callable[[int, int], None]
    ) -> Conditioner:
        things = self._things(captions)
        return CachedPhrases(self, things, CachedText(self._text, _texts(things), files.captions, progress))

    @property
    def _text(self) -> EncodedText:
        return EncodedText(self.encoder, self.length, self.dropout)

    def _given(self, text: Conditioner, prompts: Sequence[Prompt], things: Sequence[Sequence[str]]) -> Condition:
        """The condition of prompts and their things, by what encodes texts."""
        condition, vectors = text([_as_read(prompt) for prompt in prompts]), self.vectors(things, text)
        assert condition.vector is not None
        return replace(condition, concat=vectors.to(condition.vector.device))

    def _things(self, captions: Iterable[Prompt]) -> dict[Prompt, tuple[str, ...]]:
        """The phrases in each caption."""
        return {caption: self.parsed(caption).things for caption in dict.fromkeys(captions)}


class CachedPhrases(Conditioner):
    """`phrases` for training: captions, whose `things` are known, and their phrases come from a `CachedText`."""

    def __init__(self, phrases: Phrases, things: Mapping[Prompt, Sequence[str]], text: CachedText) -> None:
        self.phrases, self.things, self.text, self.dropout = phrases, things, text, phrases.dropout

    @property
    def widths(self) -> dict[str, int]:
        return self.phrases.widths

    @property
    def saved(self) -> Conditioner:
        return self.phrases

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        known, own = self.things, self.phrases
        things = [known[prompt] if prompt in known else own.parsed(prompt).things for prompt in prompts]
        return own._given(self.text, prompts, things)


def _as_read(prompt: Prompt) -> Prompt:
    return without_white_background(prompt) if isinstance(prompt, str) else prompt


def _texts(things: Mapping[Prompt, Sequence[str]]) -> list[Prompt]:
    """Captions, and every phrase in them once."""
    return [*map(_as_read, things), *dict.fromkeys(phrase for own in things.values() for phrase in own)]
