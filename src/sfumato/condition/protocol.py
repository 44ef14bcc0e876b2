"""Conditioners: from prompts to what a network is conditioned on."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from sfumato.core.condition import Condition

Prompt = str | int | None


@runtime_checkable
class Conditioner(Protocol):
    """Prompts → a condition; None is the empty prompt, which asks for anything.

    `doors` names the doors that it opens and their widths: what the network must be built with. `dropout` is the share
    of training samples that were shown the empty prompt; without any, there is nothing to guide away from.
    """

    @property
    def dropout(self) -> float: ...
    @property
    def widths(self) -> dict[str, int]: ...

    def __call__(self, prompts: Sequence[Prompt]) -> Condition: ...
