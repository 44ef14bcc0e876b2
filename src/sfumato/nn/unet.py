"""The U-Net of diffusion models: DDPM's, ADM's and what lies between, from one class."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from sfumato.errors import InputError, ShapeError
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Down, Residual, Up, norm, zero
from sfumato.nn.doors import check_doors
from sfumato.nn.embedding import TimeEmbedding

LARGEST = {"in_channels": 4096, "out_channels": 4096, "width": 8192, "blocks": 16, "patch": 64}


class UNet(nn.Module):
    """A U-Net over pictures [b, in_channels, h, w] → [b, out_channels, h, w], told the time and up to four conditions.

    Level k works at 1/2^k of the size with `width·multipliers[k]` channels, in `blocks` residual blocks on the way down
    and one more on the way up, each with self-attention where `attention` names the level (DDPM, arXiv:2006.11239,
    appendix B; ADM, arXiv:2105.05233, section 3). Heads are `head_width` channels wide; None means a single head.

    With `patch` p, each p×p square of the picture is one place of the network, its pixels side by side in channels: a
    picture of twice the side for the same work, at some cost in fine detail.

    DDPM is the default. ADM is `scale_shift=True, resample="residual", head_width=64`.

    The four doors, each 0 when shut: `vector` joins the time embedding, `tokens` are attended to wherever there is
    self-attention, `image` channels are set beside the input; all give the width that they expect.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (1,),
        head_width: int | None = None,
        dropout: float = 0.0,
        scale_shift: bool = False,
        resample: Literal["plain", "residual"] = "plain",
        patch: int = 1,
        time_scale: float = 1.0,
        vector: int = 0,
        tokens: int = 0,
        image: int = 0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.width, self.multipliers = (
            in_channels,
            out_channels,
            width,
            multipliers,
        )
        self.blocks, self.attention, self.head_width, self.dropout = blocks, attention, head_width, dropout
        self.scale_shift, self.resample, self.patch, self.time_scale = scale_shift, resample, patch, time_scale
        self.vector, self.tokens, self.image = vector, tokens, image
        self._check()

        self.time = TimeEmbedding(width, 4 * width, time_scale)
        self.project = nn.Linear(vector, 4 * width, bias=False) if vector else None
        self.enter = nn.Conv2d((in_channels + image) * patch**2, width, 3, padding=1)

        c, skips = width, [width]
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(self._stage(c, width * multiplier, level))
                c = width * multiplier
                skips.append(c)
            if level < len(multipliers) - 1:
                self.down.append(self._resize(c, "down"))
                skips.append(c)

        self.middle = nn.ModuleList([self._stage(c, c, None), self._stage(c, c, None, attend=False)])

        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.up.append(self._stage(c + skips.pop(), width * multiplier, level))
                c = width * multiplier
            if level > 0:
                self.up.append(self._resize(c, "up"))

        self.leave = nn.Sequential(norm(c), nn.SiLU(), zero(nn.Conv2d(c, out_channels * patch**2, 3, padding=1)))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        *,
        vector: Tensor | None = None,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """x [b, in_channels, h, w], time [b]; the doors as `Condition` has them. An open door needs its tensor."""
        self.check_size(*x.shape[-2:])
        check_doors((self.vector, self.tokens, self.image), vector, tokens, image)
        embedding = self.time(time)
        if self.project is not None and vector is not None:
            embedding = embedding + self.project(vector.to(embedding.dtype))
        embedding = nn.functional.silu(embedding)
        if image is not None:
            x = torch.cat([x, image.to(x.dtype)], dim=1)
        if tokens is not None:
            tokens = tokens.to(x.dtype)

        h = self.enter(pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        skips = [h]
        for stage in self.down:
            h = stage(h, embedding, tokens, mask)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, embedding, tokens, mask)
        for stage in self.up:
            if isinstance(stage, Stage):
                h = torch.cat([h, skips.pop()], dim=1)
            h = stage(h, embedding, tokens, mask)
        return pixel_shuffle(self.leave(h), self.patch)

    @property
    def multiple(self) -> int:
        """What each side of a picture must be a multiple of."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    def _stage(self, channels: int, out: int, level: int | None, attend: bool = True) -> "Stage":
        attend = attend and (level is None or level in self.attention)
        heads = out // (self.head_width or out) if attend else 0
        return Stage(self._residual(channels, out), out, heads, self.tokens)

    def _resize(self, channels: int, way: str) -> "Resize":
        if self.resample == "residual":
            return Resize(self._residual(channels, channels, way), takes_embedding=True)
        return Resize({"down": Down, "up": Up}[way](channels), takes_embedding=False)

    def _residual(self, channels: int, out: int, resample: str | None = None) -> Residual:
        return Residual(channels, out, 4 * self.width, self.dropout, self.scale_shift, resample)

    def _check(self) -> None:
        for name, most in LARGEST.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {value:,}")
        for name in ("vector", "tokens", "image"):
            if not 0 <= getattr(self, name) <= 2**20:
                raise InputError(f"{name} must be from 0 to {2**20:,}, not {getattr(self, name):,}")
        if self.head_width is not None and self.head_width < 1:
            raise InputError(f"head_width must be at least 1, not {self.head_width}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not 1 <= len(self.multipliers) <= 10 or not all(1 <= multiplier <= 64 for multiplier in self.multipliers):
            raise InputError(f"multipliers must be 1 to 10 whole numbers from 1 to 64, not {list(self.multipliers)}")
        levels = range(len(self.multipliers))
        if unknown := set(self.attention) - set(levels):
            raise InputError(f"attention names level {min(unknown)}, but the levels are 0 to {levels[-1]}")
        for level in {*self.attention, levels[-1]}:
            if self.head_width and (self.width * self.multipliers[level]) % self.head_width:
                raise InputError(
                    f"head_width {self.head_width} does not divide the {self.width * self.multipliers[level]} channels"
                    f" of level {level}"
                )

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the levels divide the size; it says which size near by they do."""
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            near = [max(round(side / self.multiple), 1) * self.multiple for side in (width, height)]
            raise ShapeError(
                f"a picture of {width}×{height} does not fit a U-Net of {len(self.multipliers)} levels: each side must"
                f" be a multiple of {self.multiple}; the nearest that fits is {near[0]}×{near[1]}"
            )


class Stage(nn.Module):
    """A residual block and, where there are heads, self-attention and attention to tokens."""

    def __init__(self, residual: Residual, channels: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.residual = residual
        self.to_self = Attention(channels, heads) if heads else None
        self.to_tokens = Attention(channels, heads, tokens) if heads and tokens else None

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.residual(x, embedding)
        if self.to_self is not None:
            x = self.to_self(x)
        if self.to_tokens is not None:
            x = self.to_tokens(x, tokens, mask)
        return x


class Resize(nn.Module):
    """A change of size between two levels, plain or by a residual block."""

    def __init__(self, change: nn.Module, takes_embedding: bool) -> None:
        super().__init__()
        self.change, self.takes_embedding = change, takes_embedding

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None, mask: Tensor | None) -> Tensor:
        return self.change(x, embedding) if self.takes_embedding else self.change(x)
