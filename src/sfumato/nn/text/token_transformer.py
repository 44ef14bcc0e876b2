"""The network of discrete diffusion: a transformer over tokens that is conditioned on the time."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, silu

from sfumato.errors import InputError
from sfumato.nn.blocks import zero
from sfumato.nn.conditioning import check_conditioning
from sfumato.nn.embedding import TimeEmbedding, sinusoidal
from sfumato.nn.modulated import Block, modulated, plain_norm, six

_MOST = {"tokens": 2**20, "width": 8192, "depth": 128, "head_width": 8192, "vector": 2**20, "context": 2**20}
_FREQUENCIES = 256


class TokenTransformer(nn.Module):
    """Token ids [b, l] and times [b] → logits of each place's tokens [b, l, tokens].

    The blocks of DiT (arXiv:2212.09748, section 3.2), over learned vectors of the tokens and sinusoids of their places
    (arXiv:1706.03762, section 3.5), so that any length will do: the network of MDLM (arXiv:2406.07524)
    and SEDD (arXiv:2310.16834), with these positions in the place of rotary ones. Attention goes both
    ways. The last layer starts at zero: at first every token is as likely.

    - `tokens`: how many there are, the mask among them;
    - `width`, `depth`, `head_width`: channels, blocks, and channels of an attention head, which divide the width;
    - `mlp`: the hidden layer of a block's perceptron, in widths; `dropout` of it;
    - `time_scale`: multiplies the time first; 1000 suits times from 0 to 1;
    - `vector`, `context`: widths of the inputs of a `Condition`, 0 for none.
    """

    concat = 0

    def __init__(
        self,
        tokens: int,
        width: int = 384,
        depth: int = 6,
        head_width: int = 64,
        mlp: float = 4.0,
        dropout: float = 0.0,
        time_scale: float = 1000.0,
        vector: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.tokens, self.width, self.depth, self.head_width, self.mlp = tokens, width, depth, head_width, mlp
        self.dropout, self.time_scale, self.vector, self.context = dropout, time_scale, vector, context
        self._check()
        self.words = nn.Parameter(torch.empty(tokens, width))
        nn.init.trunc_normal_(self.words, std=0.02)
        self.time = TimeEmbedding(_FREQUENCIES, width, time_scale, frequency_shift=0.0)
        self.project = nn.Linear(vector, width, bias=False) if vector else None
        self.modulate = zero(nn.Linear(width, 6 * width))
        heads, hidden = width // head_width, int(mlp * width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout, context) for _ in range(depth))
        self.norm = plain_norm(width)
        self.modulate_last = zero(nn.Linear(width, 2 * width))
        self.leave = zero(nn.Linear(width, tokens))

    def forward(
        self,
        ids: Tensor,
        time: Tensor,
        *,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Token ids [b, l], times [b], and what a `Condition` gives → logits [b, l, tokens]."""
        check_conditioning((self.vector, self.context, 0), vector, context, None)
        condition = self.time(time)
        if self.project is not None and vector is not None:
            condition = condition + self.project(vector.to(condition.dtype))
        condition = silu(condition)[:, None]  # [b, 1, width]
        x = embedding(ids, self.words)
        x = x + sinusoidal(torch.arange(ids.shape[1], device=ids.device), self.width).to(x.dtype)
        context = None if context is None else context.to(x.dtype)
        modulation = six(self.modulate(condition))
        for block in self.blocks:
            x = block(x, modulation, context, mask)
        shift, scale = self.modulate_last(condition).chunk(2, dim=-1)
        return self.leave(modulated(self.norm(x), shift, scale))

    def _check(self) -> None:
        for name, most in _MOST.items():
            least = 0 if name in ("vector", "context") else 1
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} must be from {least} to {most:,}, not {getattr(self, name):,}")
        if self.width % self.head_width:
            raise InputError(f"head_width {self.head_width} does not divide the width {self.width}")
        if not 1 <= self.mlp * self.width <= 64 * self.width:
            raise InputError(f"mlp must be at least 1/width and at most 64, not {self.mlp}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
