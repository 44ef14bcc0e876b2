"""The diffusion transformer in any number of dimensions."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from sfumato.errors import InputError, quoted
from sfumato.nn.blocks import shuffled, unshuffled, zero
from sfumato.nn.conditioning import check_conditioning
from sfumato.nn.embedding import TimeEmbedding
from sfumato.nn.modulated import Block, modulated, plain_norm, six
from sfumato.nn.size import check_sides

_LARGEST = {"in_channels": 4096, "out_channels": 4096, "width": 8192, "depth": 128, "head_width": 8192, "patch": 64}
FREQUENCY_WIDTH = 256
"""Sines and cosines that time is first written in, as in the code released with DiT."""


class DiTND(nn.Module):
    """The diffusion transformer over samples [b, in_channels, *d] of `dims` axes; its arguments are those
    of `DiT`.

    Its heirs say how many axes there are, and write the places: `DiT` 2, `DiT1D` 1.
    """

    dims: int

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

        self.time = TimeEmbedding(FREQUENCY_WIDTH, width, time_scale, frequency_shift=frequency_shift)
        self.project = nn.Linear(vector + null, width, bias=False) if vector else None
        shared = modulation == "shared"
        self.modulate = zero(nn.Linear(width, 6 * width)) if shared else None
        self.enter = nn.Linear((in_channels + concat) * patch**self.dims, width)
        heads, hidden = width // head_width, int(mlp * width)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, dropout, context, shared, qk_norm, mlp_eps) for _ in range(depth)
        )
        self.norm = plain_norm(width)
        self.modulate_last = zero(nn.Linear(width, 2 * width))
        self.leave = zero(nn.Linear(width, out_channels * patch**self.dims))

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
            if self.null:
                vector = torch.cat([vector, 1 - vector.sum(-1, keepdim=True)], dim=-1)
            embedding = embedding + self.project(vector.to(embedding.dtype))
        embedding = silu(embedding)[:, None]  # [b, 1, width]
        if concat is not None:
            x = torch.cat([x, concat.to(x.dtype)], dim=1)
        if context is not None:
            context = context.to(x.dtype)

        patches = unshuffled(x, self.patch)
        size = patches.shape[2:]
        places = self.enter(patches.flatten(2).transpose(1, 2))
        places = places + self.positions(size, x.device).to(places.dtype)
        modulation = embedding if self.modulate is None else six(self.modulate(embedding))
        for block in self.blocks:
            places = block(places, modulation, context, mask)
        shift, scale = self.modulate_last(embedding).chunk(2, dim=-1)
        out = self.leave(modulated(self.norm(places), shift, scale))
        return shuffled(out.transpose(1, 2).unflatten(2, size), self.patch)

    def positions(self, size: tuple[int, ...], device: torch.device) -> Tensor:
        """The places of a sample of this size, in patches, as vectors: float32 [∏size, width]."""
        raise NotImplementedError

    @property
    def multiple(self) -> int:
        """What each side of a sample must be a multiple of."""
        return self.patch

    def check_size(self, *sides: int) -> None:
        """Raise a `ShapeError` unless the patch divides a sample of these sides, (length) or (height, width); it says
        which size near by it does."""
        check_sides(sides, self.dims, self.patch, self.patch, f"a transformer of patch {self.patch}")

    def _check(self) -> None:
        for name, most in _LARGEST.items():
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
            raise InputError(
                "null is the class of samples without one, and this network has no classes: give vector as well"
            )
        if self.base_size is not None and (not 1 <= self.base_size <= 2**16 or self.width % (2 * self.dims)):
            raise InputError(
                f"base_size must be from 1 to {2**16:,} and goes with a width that is a multiple of {2 * self.dims},"
                f" not {self.base_size:,} and {self.width}"
            )
        if not 0 <= self.frequency_shift < FREQUENCY_WIDTH // 2:
            raise InputError(
                f"frequency_shift must be from 0 to below {FREQUENCY_WIDTH // 2}, not {self.frequency_shift}"
            )
        if not 0 < self.mlp_eps < 1:
            raise InputError(f"mlp_eps must be above 0 and below 1, not {self.mlp_eps}")
