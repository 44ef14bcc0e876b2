"""The U-Net in any number of dimensions."""

from typing import Literal

import torch
from torch import Tensor, nn

from sfumato.errors import InputError, quoted
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import CONVOLUTIONS, Down, Padding, Residual, Up, norm, shuffled, unshuffled, zero
from sfumato.nn.conditioning import check_conditioning
from sfumato.nn.embedding import Perceptron, TimeEmbedding
from sfumato.nn.size import check_sides
from sfumato.nn.spatial_transformer import Projection, SpatialTransformer

MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last}
_LARGEST = {"in_channels": 4096, "out_channels": 4096, "width": 8192, "blocks": 16, "patch": 64}


class UNetND(nn.Module):
    """The U-Net over samples [b, in_channels, *d] of `dims` axes; its arguments are those of `UNet`.

    Its heirs say how many axes there are: `UNet` 2, `UNet1D` 1.
    """

    dims: int

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
        context: int = 0,
        concat: int = 0,
        stem: int | None = None,
        groups: int | None = None,
        eps: float = 1e-5,
        heads: tuple[int, ...] = (),
        depth: tuple[int, ...] = (),
        projection: Projection = "linear",
        bottom: Literal["attention", "bare attention", "residual", "none"] = "attention",
        padding: Padding = "both",
        cosine_first: bool = False,
        frequency_shift: float = 1.0,
        vector_mlp: bool = False,
        onto_concat: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.width, self.multipliers = width, multipliers
        self.blocks, self.attention, self.head_width, self.dropout = blocks, attention, head_width, dropout
        self.scale_shift, self.resample, self.patch, self.time_scale = scale_shift, resample, patch, time_scale
        self.vector, self.context, self.concat = vector, context, concat
        self.stem, self.groups, self.eps, self.heads, self.depth = stem, groups, eps, heads, depth
        self.projection: Projection = projection
        self.padding: Padding = padding
        self.bottom, self.vector_mlp, self.onto_concat = bottom, vector_mlp, onto_concat
        self.cosine_first, self.frequency_shift = cosine_first, frequency_shift
        self._check()

        c = stem or width
        self.time = TimeEmbedding(c, self._embedding_width, time_scale, cosine_first, frequency_shift)
        self.project = self._project() if vector else None
        self.enter = CONVOLUTIONS[self.dims]((in_channels + concat) * patch**self.dims, c, 3, padding=1)

        skips = [c]
        self.down = nn.ModuleList()
        for level, out in enumerate(self.widths):
            for _ in range(blocks):
                self.down.append(self._stage(c, out, level, level in attention))
                c = out
                skips.append(c)
            if level < self._last:
                self.down.append(self._resize(c, "down"))
                skips.append(c)

        self.middle = nn.ModuleList()
        if bottom != "none":
            self.middle.append(self._stage(c, c, self._last, bottom != "residual", bare=bottom == "bare attention"))
            self.middle.append(self._stage(c, c, self._last, attend=False))

        self.up = nn.ModuleList()
        for level, out in reversed(list(enumerate(self.widths))):
            for _ in range(blocks + 1):
                self.up.append(self._stage(c + skips.pop(), out, level, level in attention))
                c = out
            if level > 0:
                self.up.append(self._resize(c, "up"))

        last = zero(CONVOLUTIONS[self.dims](c, out_channels * patch**self.dims, 3, padding=1))
        self.leave = nn.Sequential(norm(c, eps, groups), nn.SiLU(), last)

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
        """x [b, in_channels, *d], time [b]; the conditioning inputs as in `Condition`. Each that the network was built
        with must be given."""
        self.check_size(*x.shape[2:])
        check_conditioning((self.vector, self.context, self.concat), vector, context, concat)
        embedding = self.time(time)
        if self.project is not None and vector is not None:
            embedding = embedding + self.project(vector.to(embedding.dtype))
        embedding = nn.functional.silu(embedding)
        if concat is not None:
            x = torch.cat([x, concat.to(x.dtype)], dim=1)
        if context is not None:
            context = context.to(x.dtype)

        h = self.enter(unshuffled(x, self.patch).contiguous(memory_format=MEMORY_FORMATS[self.dims]))
        skips = [h]
        for stage in self.down:
            h = stage(h, embedding, context, mask)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, embedding, context, mask)
        for stage in self.up:
            if isinstance(stage, Stage):
                h = stage(torch.cat([h, skips.pop()], dim=1), embedding, context, mask)
            else:
                h = stage(h, embedding, size=skips[-1].shape[2:])
        out = shuffled(self.leave(h), self.patch)
        return out if concat is None or not self.onto_concat else out + concat.to(out.dtype)

    @property
    def multiple(self) -> int:
        """What each side of a sample must be a multiple of: odd levels are halved and doubled as well, but not within
        residual blocks."""
        return self.patch * (2**self._last if self.resample == "residual" else 1)

    @property
    def widths(self) -> list[int]:
        """The channels of each level."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @property
    def _embedding_width(self) -> int:
        """The width of the embedding of time and `vector`."""
        return 4 * (self.stem or self.width)

    def head_count(self, level: int) -> int:
        """The heads of the attention on this level, if it has any; the bottom has those of the last."""
        if self.heads:
            return self.heads[level]
        return self.widths[level] // self.head_width if self.head_width else 1

    @property
    def _last(self) -> int:
        return len(self.multipliers) - 1

    def _project(self) -> nn.Module:
        if self.vector_mlp:
            return Perceptron(self.vector, self._embedding_width)
        return nn.Linear(self.vector, self._embedding_width, bias=False)

    def _stage(self, channels: int, out: int, level: int, attend: bool, bare: bool = False) -> "Stage":
        residual = self._residual(channels, out)
        if not attend:
            return Stage(residual)
        heads = self.head_count(level)
        if self.depth:
            deep = SpatialTransformer(
                out, heads, self.depth[level], self.context, self.groups, self.projection, self.dims
            )
            return Stage(residual, transformer=deep)
        to_self = Attention(out, heads, eps=self.eps, groups=0 if bare else self.groups)
        return Stage(
            residual, to_self, Attention(out, heads, self.context, self.eps, self.groups) if self.context else None
        )

    def _resize(self, channels: int, way: Literal["down", "up"]) -> "Resize":
        if self.resample == "residual":
            return Resize(self._residual(channels, channels, way), takes_embedding=True)
        plain = Down(channels, padding=self.padding, dims=self.dims) if way == "down" else Up(channels, dims=self.dims)
        return Resize(plain, takes_embedding=False)

    def _residual(self, channels: int, out: int, resample: str | None = None) -> Residual:
        return Residual(
            channels,
            out,
            self._embedding_width,
            self.dropout,
            self.scale_shift,
            resample,
            eps=self.eps,
            groups=self.groups,
            dims=self.dims,
        )

    def _check(self) -> None:
        for name, most in _LARGEST.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {value:,}")
        for name in ("vector", "context", "concat"):
            if not 0 <= getattr(self, name) <= 2**20:
                raise InputError(f"{name} must be from 0 to {2**20:,}, not {getattr(self, name):,}")
        if self.head_width is not None and self.head_width < 1:
            raise InputError(f"head_width must be at least 1, not {self.head_width}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if not 0 < self.eps < 1:
            raise InputError(f"eps must be above 0 and below 1, not {self.eps}")
        if not abs(self.frequency_shift) < 1e4:
            raise InputError(f"frequency_shift must be nearer to 0 than 10,000, not {self.frequency_shift}")
        if self.onto_concat and self.concat not in (0, self.out_channels):
            raise InputError(
                f"onto_concat wants a concat of as many channels as come out, {self.out_channels}, not {self.concat}"
            )
        self._check_levels()
        self._check_attention()

    def _check_levels(self) -> None:
        if not 1 <= len(self.multipliers) <= 10 or not all(1 <= multiplier <= 64 for multiplier in self.multipliers):
            raise InputError(
                f"multipliers must be 1 to 10 whole numbers from 1 to 64, not {quoted(list(self.multipliers))}"
            )
        if self.stem is not None and not 1 <= self.stem <= _LARGEST["width"]:
            raise InputError(f"stem must be from 1 to {_LARGEST['width']:,}, not {self.stem:,}")
        for channels in {self.stem or self.width, *self.widths} if self.groups is not None else ():
            if not self.groups or channels % self.groups:
                raise InputError(f"groups must divide the channels of every level, and {self.groups} do not {channels}")

    def _check_attention(self) -> None:
        levels = range(len(self.multipliers))
        if unknown := set(self.attention) - set(levels):
            raise InputError(f"attention names level {min(unknown)}, but the levels are 0 to {levels[-1]}")
        for name in ("heads", "depth"):
            given = list(getattr(self, name))
            if given and (len(given) != len(levels) or not all(1 <= number <= 1024 for number in given)):
                raise InputError(
                    f"{name} must be a number from 1 to 1,024 for each of {len(levels)} levels, not {quoted(given)}"
                )
        if self.heads and self.head_width:
            raise InputError("either head_width or heads says how attention is split, not both")
        if self.depth and self.bottom == "bare attention":
            raise InputError("bottom must be 'attention', 'residual' or 'none' where there is depth")
        for level in {*self.attention, levels[-1]}:
            channels = self.widths[level]
            if self.head_width and channels % self.head_width:
                raise InputError(
                    f"head_width {self.head_width} does not divide the {channels} channels of level {level}"
                )
            if self.heads and channels % self.heads[level]:
                raise InputError(f"{self.heads[level]} heads do not divide the {channels} channels of level {level}")

    def check_size(self, *sides: int) -> None:
        """Raise a `ShapeError` unless the levels divide a sample of these sides, (length) or (height, width); it says
        which size near by they do."""
        # halved without a border at the left, a single place would leave nothing
        least = self.patch * 2**self._last if self.padding == "end" else self.multiple
        check_sides(sides, self.dims, self.multiple, least, f"a U-Net of {len(self.multipliers)} levels")


class Stage(nn.Module):
    """A residual block and what attention follows it: to itself and to a context, or a spatial transformer."""

    def __init__(
        self,
        residual: Residual,
        to_self: Attention | None = None,
        to_tokens: Attention | None = None,
        transformer: SpatialTransformer | None = None,
    ) -> None:
        super().__init__()
        self.residual, self.to_self, self.to_tokens, self.transformer = residual, to_self, to_tokens, transformer

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.residual(x, embedding)
        if self.to_self is not None:
            x = self.to_self(x)
        if self.to_tokens is not None:
            x = self.to_tokens(x, context, mask)
        return x if self.transformer is None else self.transformer(x, context, mask)


class Resize(nn.Module):
    """A change of size between two levels, plain or by a residual block."""

    def __init__(self, change: nn.Module, takes_embedding: bool) -> None:
        super().__init__()
        self.change, self.takes_embedding = change, takes_embedding

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        size: tuple[int, ...] | None = None,
    ) -> Tensor:
        if self.takes_embedding:
            return self.change(x, embedding)
        return self.change(x, size) if isinstance(self.change, Up) else self.change(x)
