"""Transformer blocks whose norms are set from outside: adaptive layer normalisation."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, rms_norm, scaled_dot_product_attention

from sfumato.nn.blocks import zero
from sfumato.nn.dropout import Dropout


class Block(nn.Module):
    """Self-attention, attention to a context if there is one, and a perceptron, each added to what came in:
    [b, n, width] → [b, n, width].

    `x + gate·f((1 + scale)·norm(x) + shift)` (DiT, section 3.2), for the context `x + f(norm(x))` (PixArt-α, figure 4).
    Gates, and the last layer of attention to the context, start at zero: the block starts as no change at all.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        context: int,
        shared: bool = True,
        qk_norm: bool = True,
        mlp_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(6, width)) if shared else None
        self.modulate = None if shared else nn.Linear(width, 6 * width)
        self.norm1, self.norm2 = plain_norm(width), plain_norm(width, mlp_eps)
        self.to_self = SequenceAttention(width, heads, qk_norm=qk_norm)
        self.norm_tokens = nn.LayerNorm(width, eps=1e-6) if context else None
        self.to_tokens = SequenceAttention(width, heads, context, qk_norm) if context else None
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = Dropout(dropout)
        self._start()

    def forward(self, x: Tensor, modulation: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """`modulation` [b, 6, width]: shift, scale and gate of self-attention, then of the perceptron, before the
        table; or, for a block with a layer of its own, what that takes, [b, 1, width]."""
        if self.modulate is not None:
            modulation = six(self.modulate(modulation))
        if self.table is not None:
            modulation = modulation + self.table
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.chunk(6, dim=1)  # each [b, 1, width]
        x = torch.addcmul(x, gate1, self.to_self(modulated(self.norm1(x), shift1, scale1)))
        if self.norm_tokens is not None and self.to_tokens is not None:
            x = x + self.to_tokens(self.norm_tokens(x), context, mask)
        hidden = gelu(self.widen(modulated(self.norm2(x), shift2, scale2)), approximate="tanh")
        return torch.addcmul(x, gate2, self.narrow(self.dropout(hidden)))

    def _start(self) -> None:
        """Uniform weights by Glorot's rule and biases at zero, as in the code released with DiT."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for starts_at_zero in (self.modulate, self.to_tokens and self.to_tokens.out):
            if starts_at_zero is not None:
                zero(starts_at_zero)


class SequenceAttention(nn.Module):
    """Attention of a sequence [b, n, width] to itself or, given `context` [b, k, context], to that: [b, n, width].

    `softmax((g·q̂)·k̂ᵀ/√d)·v` in heads of d channels (arXiv:1706.03762, eq. 1), `q̂ = q/√mean(q²)` over a head's channels
    and k̂ likewise (arXiv:2403.03206, section 5.3.2). The gain g is learned; a second one, of the keys, could only be
    multiplied with it. Without `qk_norm`, q and k are taken as they are. True in `mask` [b, k] counts.
    """

    def __init__(self, width: int, heads: int, context: int = 0, qk_norm: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context or width, 2 * width)
        self.gain = nn.Parameter(torch.ones(width // heads)) if qk_norm else None
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        k, v = (self._split(part) for part in self.key_value(x if context is None else context).chunk(2, dim=-1))
        q = self._split(self.query(x))
        if self.gain is not None:
            q, k = self.gain * unit(q), unit(k)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None, :])
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[b, n, c] → [b, n, heads, c/heads]."""
        return x.unflatten(-1, (self.heads, -1))


def six(modulation: Tensor) -> Tensor:
    """[b, 1, 6·width] → [b, 6, width]."""
    return modulation.unflatten(-1, (6, -1)).squeeze(1)


def plain_norm(width: int, eps: float = 1e-6) -> nn.LayerNorm:
    """The norm whose gain and offset come from outside."""
    return nn.LayerNorm(width, eps=eps, elementwise_affine=False)


def unit(x: Tensor) -> Tensor:
    """`x/√mean(x²)` over the last axis."""
    return rms_norm(x, x.shape[-1:], eps=1e-6)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """`(1 + scale)·x + shift`."""
    return torch.addcmul(shift, x, 1 + scale)
