"""What a condition says of the whole picture at once, before a network looks at any of it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, silu

from sfumato.errors import InputError
from sfumato.nn.blocks import zero
from sfumato.nn.embedding import sinusoidal

GATE_WIDTH = 64
"""Sines and cosines that time is written in for the gate."""


class DenseLayout(nn.Module):
    """Vectors [b, vector] and times [b] → maps [b, channels, h, w] and gates [b, channels, 1, 1].

    A map is drawn by three linear layers, the inner ones of `width`, on side×side places, and spread linearly over
    h×w. It starts at zero. A gate for each channel is a linear function of sinusoids of `time_scale`·t, and starts at
    1.
    """

    def __init__(self, vector: int, channels: int, side: int, width: int = 1024, time_scale: float = 1.0) -> None:
        super().__init__()
        if min(vector, channels, side, width) < 1 or max(vector, channels, side, width) > 2**16:
            raise InputError(
                "a layout's vector, channels, side and width must be from 1 to 65,536, not"
                f" {vector:,}, {channels:,}, {side:,} and {width:,}"
            )
        self.vector, self.channels, self.side, self.width, self.time_scale = vector, channels, side, width, time_scale
        self.enter, self.inner = nn.Linear(vector, width), nn.Linear(width, width)
        self.leave = zero(nn.Linear(width, channels * side**2))
        self.gate = zero(nn.Linear(GATE_WIDTH, channels))
        nn.init.ones_(self.gate.bias)

    def forward(self, vector: Tensor, time: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        drawn = self.draw(vector)
        if (height, width) != (self.side, self.side):
            drawn = interpolate(drawn, size=(height, width), mode="bilinear")
        gate = self.gate(sinusoidal(self.time_scale * time, GATE_WIDTH).to(drawn.dtype))
        return drawn, gate[:, :, None, None]

    def averaged(self, pictures: Tensor) -> Tensor:
        """Pictures [b, c, h, w] by the mean of each place of the maps: [b, c, side, side]."""
        return adaptive_avg_pool2d(pictures, self.side)

    def draw(self, vector: Tensor) -> Tensor:
        """The maps on their own places: [b, channels, side, side]."""
        h = silu(self.inner(silu(self.enter(vector.to(self.enter.weight.dtype)))))
        return self.leave(h).unflatten(1, (self.channels, self.side, self.side))


class WithLayout(nn.Module):
    """`network`, shown what `layout` draws of its `vector`: both are trained as one.

    `F(x, t, [concat, m], c) + g(t)·m`, with m the map of the vector and g its gate: the map is set beside what the
    network gets as `concat`, and added to what it gives. At pure noise the best answer is the mean of
    all pictures that the condition allows, a function of the condition alone; dense layers learn it from a few
    thousand pictures, where convolutions, which do not know where they are, need many times that. The network is left
    with the rest. To all around it, it is the network with a `concat` narrower by the layout's channels.
    """

    def __init__(self, network: nn.Module, layout: DenseLayout) -> None:
        super().__init__()
        self.network, self.layout = network, layout
        inner: Any = network
        for name, expected in (("vector", layout.vector), ("out_channels", layout.channels)):
            if (found := getattr(inner, name, 0)) != expected:
                raise InputError(f"the network's {name} should be {expected}, as the layout has it, not {found}")
        if getattr(inner, "concat", 0) < layout.channels:
            raise InputError(
                f"the network's concat should be {layout.channels} or more, the layout's channels, not"
                f" {getattr(inner, 'concat', 0)}"
            )
        self.in_channels: int = inner.in_channels
        self.out_channels: int = inner.out_channels
        self.vector: int = inner.vector
        self.context: int = inner.context
        self.concat: int = inner.concat - layout.channels

    def forward(
        self, x: Tensor, time: Tensor, *, vector: Tensor | None = None, concat: Tensor | None = None, **given: Any
    ) -> Tensor:
        """x [b, in_channels, h, w], time [b]; the conditioning inputs as the network has them."""
        if vector is None or vector.shape[-1] != self.vector:
            got = "nothing" if vector is None else f"{vector.shape[-1]}"
            raise InputError(f"this network takes {self.vector} numbers in `vector`, and was given {got}")
        drawn, gate = self.layout(vector, time, *x.shape[-2:])
        shown = drawn if concat is None else torch.cat([concat.to(drawn.dtype), drawn], dim=1)
        return self.network(x, time, vector=vector, concat=shown, **given) + gate * drawn

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the network takes samples of this size."""
        inner: Any = self.network
        inner.check_size(height, width)
