"""Attention over the places of a sample, to itself or to a context."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sfumato.nn.blocks import norm, zero


class Attention(nn.Module):
    """Attention added to what came in: [b, c, *d] → [b, c, *d].

    `softmax(q·kᵀ/√width)·v` over the n = ∏d places (arXiv:1706.03762, eq. 1). Queries come from the sample; keys
    and values from the sample too or, given `context`, from a sequence [b, k, context]; true in `mask` [b, k] counts.
    The sample is normalised in `groups`, as `norm` has them; 0 leaves it as it is.
    """

    def __init__(
        self, channels: int, heads: int, context: int = 0, eps: float = 1e-5, groups: int | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.Identity() if groups == 0 else norm(channels, eps, groups)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context or channels, 2 * channels)
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        places = flat(self.norm(x))
        k, v = self.key_value(places if context is None else context).chunk(2, dim=-1)
        out = self.out(mixed(self.query(places), k, v, self.heads, mask))
        return x + unflat(out, x.shape[2:])


def mixed(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """`softmax(q·kᵀ/√d)·v` in `heads` of d channels: q [b, n, c], k and v [b, k, c] → [b, n, c].

    True in `mask` [b, k] counts.
    """
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    out = scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None, None, :])
    return out.transpose(1, 2).flatten(2)


def flat(x: Tensor) -> Tensor:
    """[b, c, *d] → [b, n, c], n = ∏d; pictures row by row."""
    return x.flatten(2).transpose(1, 2)


def unflat(places: Tensor, size: tuple[int, ...]) -> Tensor:
    """[b, n, c] → [b, c, *size]."""
    return places.transpose(1, 2).unflatten(2, size)
