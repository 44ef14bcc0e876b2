"""The diffusion transformer: patches of a sample as a sequence, with time and conditions in the norms."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pixel_shuffle, pixel_unshuffle, rms_norm, scaled_dot_product_attention, silu

from sfumato.errors import InputError, ShapeError, quoted
from sfumato.nn.blocks import zero
from sfumato.nn.doors import check_doors
from sfumato.nn.dropout import Dropout
from sfumato.nn.embedding import TimeEmbedding, sinusoidal

LARGEST = {"in_channels": 4096, "out_channels": 4096, "width": 8192, "depth": 128, "head_width": 8192, "patch": 64}
WAVES = 256
"""Sines and cosines that time is first written in, as in the code released with DiT."""


class DiT(nn.Module):
    """A transformer over samples [b, in_channels, h, w] → [b, out_channels, h, w], told the time and up to four
    conditions.

    Each patch×patch square of the sample is one of n = h·w/patch² vectors of `width`. They go through `depth` blocks of
    self-attention and a perceptron of `mlp·width` hidden units (DiT, arXiv:2212.09748, section 3.2), in heads of
    `head_width`. Time and `vector` set the shift, scale and gate of every block (adaLN-zero), by one linear layer for
    all blocks and a learned table for each (adaLN-single, PixArt-α, arXiv:2310.00426, section 2.3): a third fewer
    parameters than a layer for each block. Queries and keys are normalised, so that the logits of attention stay
    bounded by a learned gain (Stable Diffusion 3, arXiv:2403.03206, section 5.3.2).

    Positions are fixed, so any size that the patch divides will do; a size never trained on is told apart less well.
    DiT-S is the default; B is width 768, L width 1024 and depth 24, XL width 1152, depth 28 and head_width 72.

    The doors are those of `UNet`, each 0 when shut: `vector` joins the time embedding, `context` is attended to in
    every block, `concat` channels are set beside the input; all give the width that they expect.

    The rest are how DiT was published (`modulation="block"`, `qk_norm=False`, `null=True`, a `base_size`):

    - `modulation` "block" gives each block a linear layer of its own (adaLN-zero, DiT, section 3.2);
    - `qk_norm` normalises queries and keys;
    - `null` learns what is told where no class is: `project` has a last column, for `1 − Σ vector`;
    - `base_size` is the side, in patches, of what it was trained on, which the positions of any other size are scaled
      to; None counts them from 0, in the frequencies of `sinusoidal`;
    - `mlp_eps` is added to the variance before the perceptron;
    - `frequency_shift` is that of `sinusoidal`, for the time: DiT's and SiT's own code has none, and frequencies
      `10000^(−i/128)`. diffusers, which draws from their weights, has 1.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 384,
        depth: int = 12,
        head_width: int = 64,
        patch: int = 2,
        mlp: float = 4.0,
        dropout: float = 0.0,
        time_scale: float = 1.0,
        vector: int = 0,
        context: int = 0,
        concat: int = 0,
        modulation: Literal["shared", "block"] = "shared",
        qk_norm: bool = True,
        null: bool = False,
        base_size: int | None = None,
        mlp_eps: float = 1e-6,
        frequency_shift: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.width, self.depth = in_channels, out_channels, width, depth
        self.head_width, self.patch, self.mlp, self.dropout = head_width, patch, mlp, dropout
        self.time_scale, self.vector, self.context, self.concat = time_scale, vector, context, concat
        self.modulation, self.qk_norm, self.null, self.base_size, self.mlp_eps = (
            modulation,
            qk_norm,
            null,
            base_size,
            mlp_eps,
        )
        self.frequency_shift = frequency_shift
        self._check()

        self.time = TimeEmbedding(WAVES, width, time_scale, frequency_shift=frequency_shift)
        self.project = nn.Linear(vector + null, width, bias=False) if vector else None
        shared = modulation == "shared"
        self.modulate = zero(nn.Linear(width, 6 * width)) if shared else None
        self.enter = nn.Linear((in_channels + concat) * patch**2, width)
        heads, hidden = width // head_width, int(mlp * width)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout, context, shared, qk_norm, mlp_eps) for _ in range(depth)
        )
        self.norm = plain_norm(width)
        self.modulate_last = zero(nn.Linear(width, 2 * width))
        self.leave = zero(nn.Linear(width, out_channels * patch**2))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        *,
        vector: Tensor | None = None,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        concat: Tensor | None = None,
    ) -> Tensor:
        """x [b, in_channels, h, w], time [b]; the doors as `Condition` has them. An open door needs its tensor."""
        self.check_size(*x.shape[-2:])
        check_doors((self.vector, self.context, self.concat), vector, context, concat)
        embedding = self.time(time)
        if self.project is not None and vector is not None:
            if self.null:
                vector = torch.cat([vector, 1 - vector.sum(-1, keepdim=True)], dim=-1)
            embedding = embedding + self.project(vector.to(embedding.dtype))
        embedding = silu(embedding)[:, None]  # [b, 1, width]
        if concat is not None:
            x = torch.cat([x, concat.to(x.dtype)], dim=1)
        if context is not None:
            context = context.to(x.dtype)

        squares = pixel_unshuffle(x, self.patch)  # [b, c·patch², h', w']
        h, w = squares.shape[-2:]
        places = self.enter(squares.flatten(2).transpose(1, 2))
        places = places + positions(h, w, self.width, x.device, self.base_size).to(places.dtype)
        told = embedding if self.modulate is None else six(self.modulate(embedding))
        for block in self.blocks:
            places = block(places, told, context, mask)
        shift, scale = self.modulate_last(embedding).chunk(2, dim=-1)
        out = self.leave(modulated(self.norm(places), shift, scale))
        return pixel_shuffle(out.transpose(1, 2).unflatten(2, (h, w)), self.patch)

    @property
    def multiple(self) -> int:
        """What each side of a sample must be a multiple of."""
        return self.patch

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the patch divides the size; it says which size near by it does."""
        if height < 1 or width < 1 or height % self.patch or width % self.patch:
            near = [max(round(side / self.patch), 1) * self.patch for side in (width, height)]
            raise ShapeError(
                f"a picture of {width}×{height} does not fit a transformer of patch {self.patch}: each side must be a"
                f" multiple of {self.patch}; the nearest that fits is {near[0]}×{near[1]}"
            )

    def _check(self) -> None:
        for name, most in LARGEST.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {getattr(self, name):,}")
        for name in ("vector", "context", "concat"):
            if not 0 <= getattr(self, name) <= 2**20:
                raise InputError(f"{name} must be from 0 to {2**20:,}, not {getattr(self, name):,}")
        if self.width % self.head_width:
            raise InputError(f"head_width {self.head_width} does not divide the width {self.width}")
        if not 1 <= self.mlp * self.width <= 64 * self.width:
            raise InputError(f"mlp must be at least 1/width and at most 64, not {self.mlp}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if self.modulation not in ("shared", "block"):
            raise InputError(f"modulation must be 'shared' or 'block', not {quoted(self.modulation)}")
        if self.null and not self.vector:
            raise InputError("null is what is told without a class, and no class is ever told: give vector as well")
        if self.base_size is not None and (not 1 <= self.base_size <= 2**16 or self.width % 4):
            raise InputError(
                f"base_size must be from 1 to {2**16:,} and goes with a width that is a multiple of 4, not"
                f" {self.base_size:,} and {self.width}"
            )
        if not 0 <= self.frequency_shift < WAVES // 2:
            raise InputError(f"frequency_shift must be from 0 to below {WAVES // 2}, not {self.frequency_shift}")
        if not 0 < self.mlp_eps < 1:
            raise InputError(f"mlp_eps must be above 0 and below 1, not {self.mlp_eps}")


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

    def forward(self, x: Tensor, told: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        """`told` [b, 6, width]: shift, scale and gate of self-attention, then of the perceptron, before the table; or,
        for a block with a layer of its own, what that takes, [b, 1, width]."""
        if self.modulate is not None:
            told = six(self.modulate(told))
        if self.table is not None:
            told = told + self.table
        shift1, scale1, gate1, shift2, scale2, gate2 = told.chunk(6, dim=1)  # each [b, 1, width]
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


def positions(
    height: int, width: int, channels: int, device: torch.device | None = None, base_size: int | None = None
) -> Tensor:
    """Sines and cosines of the places of a height×width grid, row by row: float32 [height·width, channels].

    The first half says the row and the second the column, each as `sinusoidal` of its index (DiT, arXiv:2212.09748,
    section 3.2, by ViT's frequencies).

    With a `base_size`, as in the code released with DiT, the first half says the column and the second the row; sines
    and cosines are of `p·10000^(−i/n)`, i from 0 to n − 1, n = channels/4, and p runs from 0 to base_size, whatever the
    size (as diffusers scales it).
    """
    if base_size is None:
        rows = sinusoidal(torch.arange(height, device=device), channels // 2)
        columns = sinusoidal(torch.arange(width, device=device), channels - channels // 2)
    else:
        rows, columns = (_scaled_waves(side, channels // 4, base_size).to(device) for side in (height, width))
    grid = rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)
    return torch.cat(grid if base_size is None else grid[::-1], dim=-1).flatten(0, 1)


def _scaled_waves(side: int, number: int, base_size: int) -> Tensor:
    """Sines and cosines of `side` places between 0 and base_size: float32 [side, 2·number], computed in float64 on the
    CPU, since not all devices have it."""
    place = torch.arange(side, dtype=torch.float64, device="cpu") * (base_size / side)
    i = torch.arange(number, dtype=torch.float64, device="cpu")
    angle = place[:, None] * torch.exp(-math.log(10_000.0) * i / number)
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


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
