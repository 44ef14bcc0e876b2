"""The spatial transformer of latent diffusion: whole transformer blocks over the places of a sample."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import gelu

from sfumato.nn.attention import flat, mixed, unflat
from sfumato.nn.blocks import CONVOLUTIONS, norm, zero

Projection = Literal["linear", "convolution"]
_EPS = 1e-6
"""What is added to the variance before the first layer, whatever the network around has: so in the released code."""


class SpatialTransformer(nn.Module):
    """`depth` transformer blocks between a layer in and a layer out, added to what came in: [b, c, *d] both ways.

    The sample is normalised first (latent diffusion, arXiv:2112.10752, section 3.3 and appendix E.2.1). The layers in
    and out mix the channels of each place: as linear layers (Stable Diffusion 2 and XL) or as convolutions of one place
    (Stable Diffusion 1), which compute the same from weights of another shape. The layer out starts at zero, and so the
    whole as no change at all.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int = 1,
        context: int = 0,
        groups: int | None = None,
        projection: Projection = "linear",
        dims: int = 2,
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dims]
        self.linear = projection == "linear"
        self.norm = norm(channels, _EPS, groups)
        self.enter = nn.Linear(channels, channels) if self.linear else convolution(channels, channels, 1)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, context) for _ in range(depth))
        self.leave = zero(nn.Linear(channels, channels) if self.linear else convolution(channels, channels, 1))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x [b, c, *d]; context [b, k, context], of which those true in `mask` [b, k] count."""
        size = x.shape[2:]
        h = self.norm(x)
        places = self.enter(flat(h)) if self.linear else flat(self.enter(h))
        for block in self.blocks:
            places = block(places, context, mask)
        return x + (unflat(self.leave(places), size) if self.linear else self.leave(unflat(places, size)))


class TransformerBlock(nn.Module):
    """Self-attention, attention to a context if there is one, and a gated perceptron, each `x + f(norm(x))`:
    [b, n, c] → [b, n, c].

    The perceptron is GEGLU, `W·(u ⊙ gelu(g))`, where u and g are 4·c numbers each, linear in the input
    (arXiv:2002.05202, eq. 6).
    """

    def __init__(self, channels: int, heads: int, context: int = 0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.to_self = HeadedAttention(channels, heads)
        self.norm_tokens = nn.LayerNorm(channels) if context else None
        self.to_tokens = HeadedAttention(channels, heads, context) if context else None
        self.widen, self.narrow = nn.Linear(channels, 8 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.to_self(self.norm1(x))
        if self.norm_tokens is not None and self.to_tokens is not None:
            x = x + self.to_tokens(self.norm_tokens(x), context, mask)
        hidden, gate = self.widen(self.norm2(x)).chunk(2, dim=-1)
        return x + self.narrow(hidden * gelu(gate))


class HeadedAttention(nn.Module):
    """Attention of a sequence [b, n, c] to itself or, given `context`, to a sequence [b, k, context]: [b, n, c].

    `out(softmax(q·kᵀ/√d)·v)` in heads of d = c/heads channels (arXiv:1706.03762, eq. 1); queries, keys and values have
    no offset. True in `mask` [b, k] counts.
    """

    def __init__(self, channels: int, heads: int, context: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(context or channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        k, v = self.key_value(x if context is None else context).chunk(2, dim=-1)
        return self.out(mixed(self.query(x), k, v, self.heads, mask))
