"""Attention over the places of a picture, to itself or to tokens."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sfumato.nn.blocks import norm, zero


class Attention(nn.Module):
    """Attention added to what came in: [b, c, h, w] → [b, c, h, w].

    `softmax(q·kᵀ/√width)·v` over the h·w places (arXiv:1706.03762, eq. 1). Queries come from the picture; keys and
    values from the picture too or, given `tokens`, from a sequence [b, k, tokens]; true in `mask` [b, k] counts.
    """

    def __init__(
        self, channels: int, heads: int, tokens: int = 0, eps: float = 1e-5, groups: int | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm(channels, eps, groups)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(tokens or channels, 2 * channels)
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        b, c, h, w = x.shape
        places = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        q = self._split(self.query(places))
        k, v = (self._split(part) for part in self.key_value(places if tokens is None else tokens).chunk(2, dim=-1))
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None, :])
        out = self.out(mixed.transpose(1, 2).reshape(b, h * w, c))
        return x + out.reshape(b, h, w, c).permute(0, 3, 1, 2)

    def _split(self, x: Tensor) -> Tensor:
        """[b, n, c] → [b, heads, n, c/heads]."""
        b, n, c = x.shape
        return x.reshape(b, n, self.heads, c // self.heads).transpose(1, 2)
