"""A text encoder that is trained together with the network that it conditions."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, scaled_dot_product_attention

from sfumato.errors import InputError, ShapeError

_LARGEST = {"vocabulary": 2**20, "width": 8192, "layers": 64, "heads": 256, "length": 2**14}


class TextTransformer(nn.Module):
    """Token ids [b, k], below `vocabulary` → a vector for each [b, k, width].

    The sum of a learned vector of the token and one of its place goes through `layers` of attention, both ways, and a
    perceptron of 4·width: `x + attention(norm(x))`, `x + mlp(norm(x))`, and a norm at the end (GLIDE's text encoder,
    arXiv:2112.10741, section 3.1; norms before each sum, arXiv:2002.04745).
    """

    def __init__(self, vocabulary: int, width: int = 256, layers: int = 4, heads: int = 4, length: int = 32) -> None:
        super().__init__()
        self.vocabulary, self.width, self.layers, self.heads, self.length = vocabulary, width, layers, heads, length
        check_sizes(self)
        self.words = nn.Parameter(torch.empty(vocabulary, width))
        self.places = nn.Parameter(torch.empty(length, width))
        for table in (self.words, self.places):
            nn.init.trunc_normal_(table, std=0.02)
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids [b, k], k ≤ length; true in mask [b, k] counts, and each row has one such."""
        if ids.shape[1] > self.length:
            raise ShapeError(f"this text encoder reads {self.length} tokens, and was given {ids.shape[1]}: cut them")
        x = embedding(ids, self.words) + self.places[: ids.shape[1]]
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def check_sizes(network: Any) -> None:
    """Raise an `InputError` for sizes that no text encoder has."""
    for name, most in _LARGEST.items():
        if not 1 <= getattr(network, name) <= most:
            raise InputError(f"{name} must be from 1 to {most:,}, not {getattr(network, name):,}")
    if network.width % network.heads:
        raise InputError(f"{network.heads} heads do not divide the width {network.width}")


def quick_gelu(x: Tensor) -> Tensor:
    """`x·σ(1.702·x)`, near to GELU (arXiv:1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {"gelu": gelu, "quick_gelu": quick_gelu}


class TextBlock(nn.Module):
    """Self-attention and a perceptron, each of what is normalised and added to what came in: [b, k, width].

    The perceptron is as wide as `hidden`, 4·width by default. Without a mask each place attends to all, or, where
    attention is `causal`, to itself and those before it.
    """

    def __init__(
        self, width: int, heads: int, hidden: int | None = None, activation: str = "gelu", causal: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.activation, self.causal = heads, activation, causal
        hidden = hidden or 4 * width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        parts = self.query_key_value(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = None if mask is None else mask[:, None, None, :]
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(ACTIVATIONS[self.activation](self.widen(self.norm2(x))))
