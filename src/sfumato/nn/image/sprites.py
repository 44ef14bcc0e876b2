"""A canvas of sprites: what is named is remembered, put into its place and laid over what is behind it."""

from typing import Any

import torch
from torch import Tensor, nn

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.sprite_memory import SpriteMemory

_GROUND = 7
"""The numbers of the ground beside its style: whether it is plain, its colour at the top and at the bottom."""
_COLOR = 3


class Sprites(nn.Module):
    """A layout and the phrases of its things → canvases [b, 3, size, size], of any size.

    The context [b, 1 + k, phrase + 3 + styles + 7] holds of each place the vector of its phrase, the colour asked for
    (hue in turns, saturation and value; a hue below 0 for none) and the numbers of the medium `Layout`: place 0 has the
    style and the background, every other one thing. A `SpriteMemory` finds the sprite of a phrase in the style, colour
    and opacity, [4, side, side]. A spatial transformer (arXiv:1506.02025, section 3; here a shift and a scale) puts it
    into its square, and sprites are composed by depth, the nearer over what is behind it (T. Porter and T. Duff,
    Compositing Digital Images, 1984, "over"), as DTI-Sprites models a picture in layers (arXiv:2104.14575, eq. 3). A
    place whose `mask` is false draws nothing.

    The sample x and the time are ignored. It is a denoiser of one step, under the parameterization x0: at pure noise
    the best estimate is the mean of all canvases of the condition, and of a layout there is but one.
    """

    in_channels = out_channels = 3

    def __init__(
        self,
        names: int,
        sprites: int,
        file_bytes: int,
        phrase: int = 384,
        styles: int = 5,
        side: int = 128,
    ) -> None:
        super().__init__()
        self.names, self.sprites, self.file_bytes, self.phrase, self.styles = names, sprites, file_bytes, phrase, styles
        self.side = side
        self.memory = SpriteMemory(phrase, names, sprites, styles, file_bytes, side)
        self.context = phrase + _COLOR + styles + _GROUND

    def forward(
        self, x: Tensor, time: Tensor, *, context: Tensor | None = None, mask: Tensor | None = None, **given: Any
    ) -> Tensor:
        """x [b, 3, size, size] and time [b] for their form alone; context as above, mask [b, 1 + k] → [b, 3, size,
        size] in [−1, 1]. An `InputError` for a context of another width, or for other inputs."""
        if context is None or context.shape[-1] != self.context or given:
            came = ", ".join([*given]) or ("none" if context is None else f"one of {context.shape[-1]}")
            raise InputError(f"this network takes a context of width {self.context} and nothing else, and got {came}")
        self.check_size(*x.shape[-2:])
        context = context.to(torch.promote_types(context.dtype, torch.float32))  # bfloat16 is too coarse for places
        ground, places = context[:, 0, self.phrase + _COLOR :], context[:, 1:]
        style = ground[:, : self.styles].argmax(1)
        vectors, colors, numbers = places.tensor_split((self.phrase, self.phrase + _COLOR), dim=-1)
        turns = colors.new_tensor([360.0, 1.0, 1.0])
        sprites = self.memory(vectors, style[:, None].expand(vectors.shape[:2]), turns * colors).to(context.dtype)
        x_center, y_center, extent, depth = numbers[..., :4].unbind(-1)
        size = x.shape[-1]
        layers = placed(sprites, x_center, y_center, extent, size)
        if mask is not None:
            layers = layers * mask[:, 1:, None, None, None]
        return 2 * composed(background(ground[:, self.styles :], size), layers, depth) - 1

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ShapeError` unless the canvas is a square."""
        if height != width:
            raise ShapeError(f"sprites are drawn on squares, as 128×128, not on {width}×{height}")


def placed(sprites: Tensor, x: Tensor, y: Tensor, side: Tensor, size: int) -> Tensor:
    """Sprites [..., c, s, s] each in its square of a canvas: [..., c, size, size], 0 outside of it.

    The square has its centre at (x, y), from −1 (left, top) to 1, and a side of (1 + `side`)/2 of the canvas's, at
    least a pixel; all three are [...]. Where the sprite is shrunk, a pixel of the canvas is its mean over the pixel's
    square, exactly; where it is enlarged, its mean over the square of one of its own pixels, which is linear
    interpolation.
    """
    extent = ((1 + side) / 2).clamp(1 / size, 2)
    rows, columns = (_overlaps(centre, extent, sprites.shape[-1], size) for centre in (y, x))
    return torch.einsum("...ij,...cjk,...lk->...cil", rows, sprites, columns)


def _overlaps(centre: Tensor, extent: Tensor, side: int, size: int) -> Tensor:
    """How much of each pixel of a canvas's row is each of a sprite's: [..., size, side]."""
    pixels = (torch.arange(size, device=centre.device, dtype=centre.dtype) + 0.5) / size
    start = (1 + centre) / 2 - extent / 2
    middle = (pixels - start[..., None]) / extent[..., None] * side  # of each pixel, in the sprite's own
    reach = (side / size / extent).clamp(min=1)[..., None, None]
    edges = torch.arange(side + 1, device=centre.device, dtype=centre.dtype)
    below = ((edges - middle[..., None]) / reach + 0.5).clamp(0, 1)  # the share of a pixel that lies before each edge
    return below.diff(dim=-1)


def composed(ground: Tensor, layers: Tensor, depth: Tensor) -> Tensor:
    """Layers [b, k, 4, h, w] over the ground [b, 3, h, w], the least depth [b, k] first; of equal ones the later is in
    front."""
    order = depth.argsort(dim=1, stable=True)[:, :, None, None, None].expand_as(layers)
    for layer in layers.gather(1, order).unbind(1):
        ground = layer[:, :3] + (1 - layer[:, 3:]) * ground
    return ground


def background(ground: Tensor, size: int) -> Tensor:
    """The ground's numbers [b, 7] → pictures [b, 3, size, size] in [0, 1]: white if the first is above 0, else from the
    colour at the top to that at the bottom."""
    plain, top, bottom = ground[:, 0], ground[:, 1:4, None], ground[:, 4:, None]
    share = (torch.arange(size, device=ground.device, dtype=ground.dtype) + 0.5) / size
    colours = torch.where(plain[:, None, None] > 0, 1, ((1 + top + (bottom - top) * share) / 2).clamp(0, 1))
    return colours[..., None].expand(-1, -1, -1, size)
