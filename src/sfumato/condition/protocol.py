"""Conditioners: from prompts to what a network is conditioned on."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, Self

import torch
from torch import nn

from sfumato.core.condition import Condition

Prompt = str | int | None
Reads = Literal["nothing", "labels", "captions"]


class TrainingFiles(Protocol):
    """The files that a run keeps for its conditioner."""

    @property
    def captions(self) -> Path: ...
    @property
    def tokenizer(self) -> Path: ...


class Conditioner:
    """Prompts → a condition; None is the empty prompt, which asks for anything.

    A conditioner says `widths` and gives a condition when it is called; the rest has defaults, so that no caller asks
    for its class:

    - `reads`: what of a data set its prompts are in training, "nothing", "labels" or "captions";
    - `dropout`: the share of training samples that were shown the empty prompt (p_uncond of classifier-free guidance,
      arXiv:2207.12598, algorithm 1); without any, there is no guidance.
    """

    reads: Reads = "captions"
    dropout: float = 0.0

    @property
    def widths(self) -> dict[str, int]:
        """The width of each conditioning input that it gives: what the network must be built with."""
        return {}

    @property
    def vocabulary(self) -> int:
        """How many token ids there are, where it gives these for the network's own text encoder to read; else 0."""
        return 0

    def __call__(self, prompts: Sequence[Prompt]) -> Condition:
        """The condition of b prompts: every tensor is [b, …]. An `InputError` for a prompt that it cannot read."""
        raise NotImplementedError

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise an `InputError` for a prompt that cannot be read; without encoding it, where that takes long."""
        self([prompt])

    # Drawing ----------------------------------------------------------------------------------------------------------

    def null(self, prompts: Sequence[Prompt]) -> Condition:
        """The condition that guidance leads away from, for negative prompts or None."""
        return self(prompts)

    def at(self, size: tuple[int, ...]) -> "Conditioner":
        """The same conditioner for samples of `size`, in the order of their medium."""
        return self

    def truncated(self, prompt: Prompt) -> str:
        """The end of the prompt that is lost, because it is too long to be read; "" if nothing is."""
        return ""

    def to(self, device: torch.device | str) -> Self:
        """The same conditioner, with what it computes by on `device`."""
        return self

    def sharing(self, other: "Conditioner") -> Self:
        """The same conditioner, which encodes by what the `other` encodes by where that is equal to its own, so that it
        is read once."""
        return self

    # Saving -----------------------------------------------------------------------------------------------------------

    def pinned(self) -> "Conditioner":
        """The same conditioner, which says by hashes which files of others it reads by."""
        return self

    def check(self, network: nn.Module) -> None:
        """Raise an `InputError` where this conditioner, as it was saved, could read by other files than it was made
        with, or gives what `network` cannot take; `widths` and `dropout` are checked elsewhere."""

    # Training ---------------------------------------------------------------------------------------------------------

    def training_size(self, files: TrainingFiles, captions: Iterable[Prompt]) -> int:
        """About how many bytes `for_training` will write for these captions, 0 where they are there."""
        return 0

    def for_training(
        self, files: TrainingFiles, captions: Iterable[Prompt], progress: Callable[[int, int], None]
    ) -> "Conditioner":
        """The conditioner that training asks in place of this one: of the same conditions, from the run's files, which
        are written if they are not there; `progress(done, of)` is called meanwhile."""
        return self

    @property
    def saved(self) -> "Conditioner":
        """The conditioner of the system that is trained with this one: itself, or the one it stands in for."""
        return self
