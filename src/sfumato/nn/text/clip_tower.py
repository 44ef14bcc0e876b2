"""CLIP's text encoder, which conditions Stable Diffusion."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from sfumato.errors import InputError, ShapeError, quoted
from sfumato.nn.text.transformer import ACTIVATIONS, TextBlock, check_sizes

WIDEST = 2**15
"""The most hidden units of a perceptron, and the most numbers that a projection gives."""


class ClipTower(nn.Module):
    """Token ids [b, k], below `vocabulary` → a vector for each [b, k, width], and one for the
    whole text.

    The sum of a learned vector of the token and one of its place goes through `layers` of attention to what came
    before, `x + attention(norm(x))`, `x + mlp(norm(x))`, with a norm at the end; the whole text is the state at its end
    token, times a matrix if there is a `projection` (CLIP, arXiv:2103.00020, section 2.4). `end` is the number of that
    token; None takes the place of the highest number, which is the end token of CLIP's own vocabulary.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        length: int = 77,
        activation: str = "quick_gelu",
        projection: int = 0,
        end: int | None = None,
    ) -> None:
        super().__init__()
        self.vocabulary, self.width, self.layers, self.heads, self.length = vocabulary, width, layers, heads, length
        self.hidden, self.activation, self.projection, self.end = hidden, activation, projection, end
        self._check()
        self.words = nn.Parameter(torch.empty(vocabulary, width))
        self.places = nn.Parameter(torch.empty(length, width))
        for table in (self.words, self.places):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks = nn.ModuleList(TextBlock(width, heads, hidden, activation, causal=True) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, projection, bias=False) if projection else nn.Identity()

    @property
    def pooled(self) -> int:
        """The width of the vector of a whole text."""
        return self.projection or self.width

    def forward(self, ids: Tensor, skip: int | None = None) -> tuple[Tensor, Tensor]:
        """ids [b, k], k ≤ length → states [b, k, width] and the whole texts [b, pooled].

        The states are those at the end; with `skip`, those so many layers before it, which no norm follows.
        """
        if ids.shape[1] > self.length:
            raise ShapeError(f"this text encoder reads {self.length} tokens, and was given {ids.shape[1]}: cut them")
        if skip is not None and not 0 <= skip <= self.layers:
            raise InputError(f"skip must be from 0 to {self.layers}, the layers that there are, not {skip}")
        states = [embedding(ids, self.words) + self.places[: ids.shape[1]]]
        for block in self.blocks:
            states.append(block(states[-1]))
        last = self.norm(states[-1])
        ends = ids.argmax(1) if self.end is None else (ids == self.end).int().argmax(1)  # the first of several
        pooled = self.project(last[torch.arange(len(ids), device=ids.device), ends])
        return (last if skip is None else states[-1 - skip]), pooled

    def _check(self) -> None:
        check_sizes(self)
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {quoted(self.activation)}")
        for name, least in (("hidden", 1), ("projection", 0)):
            if not least <= getattr(self, name) <= WIDEST:
                raise InputError(f"{name} must be from {least} to {WIDEST:,}, not {getattr(self, name):,}")
