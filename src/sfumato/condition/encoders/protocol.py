"""The interface of text encoders, and what they share."""

from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sfumato.condition.encoders.tokenizer import Tokenizer
from sfumato.core.condition import Condition

E = TypeVar("E", bound="TextEncoder")


@runtime_checkable
class TextEncoder(Protocol):
    """Texts → vectors, by a network that was trained before and stays as it is.

    `width` is that of a token's vector, `pooled` that of the whole text's, and `longest` the most tokens that can be
    read: all known before the weights are, which are read when first needed.
    """

    @property
    def width(self) -> int: ...
    @property
    def pooled(self) -> int: ...
    @property
    def longest(self) -> int: ...
    @property
    def tokenizer(self) -> Tokenizer: ...

    def __call__(self, ids: Sequence[Sequence[int]]) -> Condition:
        """Texts as the tokenizer gives them → vector [b, pooled], context [b, k, width] and mask [b, k], in float32.

        k is the longest of the texts; where the mask is false, tokens are zero.
        """
        ...

    def fingerprint(self) -> str:
        """A line that changes whenever the vectors may."""
        ...

    def check(self) -> None:
        """Raise an `InputError` where other files than it was made with could be read."""
        ...

    def to(self: E, device: torch.device | str) -> E:
        """The same encoder, its weights on `device`; the CPU is where they are read."""
        ...


def is_read(encoder: object, device: torch.device | str, part: str = "_network") -> bool:
    """Whether the encoder's weights are to be moved now: on the CPU, where they are read, they may be read later."""
    return torch.device(device).type != "cpu" or part in vars(encoder)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [k_i, …] of one type → all of them as [b, k, …], zeros after the end of each, and the mask [b, k] of what
    counts."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return pad_sequence(list(rows), batch_first=True), mask.to(rows[0].device)


def mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of the states [b, k, n] that count: [b, n]."""
    counts = mask[..., None].to(states)
    return (states * counts).sum(1) / counts.sum(1)
