"""The half of a U-Net that goes down, ending in a vector: what classifiers of noisy pictures are made of."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from sfumato.errors import InputError, ShapeError
from sfumato.nn.attention import Attention
from sfumato.nn.blocks import Down, Residual, norm
from sfumato.nn.embedding import TimeEmbedding
from sfumato.nn.unet_nd import Resize, Stage


class Encoder(nn.Module):
    """Pictures [b, in_channels, h, w] and times [b] → vectors [b, outputs].

    The way down of `UNet`, with its arguments; then the mean over the places that are left, and a linear layer (ADM,
    arXiv:2105.05233, section 4.3, whose pooling is by attention).
    """

    def __init__(
        self,
        in_channels: int = 3,
        outputs: int = 10,
        width: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 2),
        blocks: int = 1,
        attention: tuple[int, ...] = (2,),
        dropout: float = 0.0,
        patch: int = 1,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.outputs, self.width, self.multipliers = in_channels, outputs, width, multipliers
        self.blocks, self.attention, self.dropout, self.patch = blocks, attention, dropout, patch
        self.time_scale = time_scale
        self._check()

        self.time = TimeEmbedding(width, 4 * width, time_scale)
        self.enter = nn.Conv2d(in_channels * patch**2, width, 3, padding=1)
        c = width
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            if level > 0:
                self.down.append(Resize(Down(c), takes_embedding=False))
            for _ in range(blocks):
                residual = Residual(c, width * multiplier, 4 * width, dropout, scale_shift=True)
                c = width * multiplier
                self.down.append(Stage(residual, Attention(c, 1) if level in attention else None))
        self.leave = nn.Sequential(norm(c), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, outputs))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x [b, in_channels, h, w], time [b] → [b, outputs]."""
        self.check_size(*x.shape[-2:])
        embedding = nn.functional.silu(self.time(time))
        h = self.enter(pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        for stage in self.down:
            h = stage(h, embedding, None, None)
        return self.leave(h)

    @property
    def multiple(self) -> int:
        """What each side of a picture must be a multiple of."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the levels divide the size."""
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            raise ShapeError(
                f"a picture of {width}×{height} does not fit an encoder of {len(self.multipliers)} levels: each side"
                f" must be a multiple of {self.multiple}"
            )

    def _check(self) -> None:
        for name, most in {"in_channels": 4096, "outputs": 2**20, "width": 8192, "blocks": 16, "patch": 64}.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {getattr(self, name):,}")
        if not 1 <= len(self.multipliers) <= 10 or not all(1 <= one <= 64 for one in self.multipliers):
            raise InputError(f"multipliers must be 1 to 10 whole numbers from 1 to 64, not {list(self.multipliers)}")
        if unknown := set(self.attention) - set(range(len(self.multipliers))):
            raise InputError(
                f"attention names level {min(unknown)}, and the levels are 0 to {len(self.multipliers) - 1}"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout}")
