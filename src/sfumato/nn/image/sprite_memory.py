"""A memory of small pictures, asked by vectors."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.patch_codes import PatchCodes
from sfumato.nn.image.recolor import recolored

ANOTHER_STYLE = 0.15
"""What a name loses, of cosines, where it has no sprite in the style that is asked for: rather the thing that was named
in another style than another thing in that style."""
LIKE = 0.7
"""From which cosine on a name is like a vector. Of 110 words that no emoji shows, as "lighthouse", 83 in a hundred have
no name that is; of 162 phrases for things that there are, as "wooden chair", four."""
_MOST = 2**24


class SpriteMemory(nn.Module):
    """Sprites, small pictures with transparency, kept under names in `styles`, and found by the vector of a name.

    A key–value memory (arXiv:1606.03126) whose keys are vectors of names [names, vector] and which attends to the
    nearest alone: `argmax_k cos(key_k, q)`, less `ANOTHER_STYLE` for names that have no sprite in the style. A sprite
    [4, side, side] is its colours, from 0 to 1, times its opacity, and that. It is kept as the first `rank` principal
    components of its patches, those of its style (`PatchCodes`): fitted in closed form, and not trained.
    """

    def __init__(
        self, vector: int, names: int, sprites: int, styles: int, rank: int = 320, fine: int = 64, patch: int = 16,
        side: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value in (("vector", vector), ("names", names), ("sprites", sprites), ("styles", styles)):
            if not 1 <= value <= _MOST:
                raise InputError(f"{name} must be from 1 to {_MOST:,}, not {value:,}")
        self.vector, self.names, self.sprites, self.styles = vector, names, sprites, styles
        self.kept = PatchCodes(sprites, styles, 4, rank, fine, patch, side)
        self.register_buffer("keys", torch.zeros(names, vector))
        self.register_buffer("table", torch.zeros(names, styles, dtype=torch.int32))
        self.register_buffer("own", torch.zeros(names, styles, dtype=torch.bool))
        self.register_buffer("hues", torch.full((sprites, 3), -1.0))

    keys: Tensor
    table: Tensor
    own: Tensor
    hues: Tensor

    def forward(self, vector: Tensor, style: Tensor, color: Tensor | None = None) -> Tensor:
        """Vectors [..., vector] and the places of styles [...] → sprites [..., 4, side, side].

        `color` [..., 3], hue in degrees, saturation and value from 0 to 1, is what a sprite of one hue is turned to; a
        negative hue leaves it as it is.
        """
        found = self.find(vector, style)
        sprite = self.kept(found.flatten()).unflatten(0, found.shape)
        alpha = sprite[..., 3:, :, :].clamp(0, 1)
        colors = torch.minimum(sprite[..., :3, :, :].clamp_min(0), alpha)
        if color is not None:
            old = self.hues[found].to(sprite)
            turns = (color[..., 0] >= 0) & (old[..., 0] >= 0)
            other = alpha * recolored(colors / alpha.clamp_min(1e-4), old, color.to(sprite))
            colors = torch.where(turns[..., None, None, None], other, colors)
        return torch.cat([colors, alpha], dim=-3)

    def find(self, vector: Tensor, style: Tensor) -> Tensor:
        """The number of the sprite for each vector in each style: [...]."""
        if vector.shape[-1] != self.vector or vector.shape[:-1] != style.shape:
            raise ShapeError(
                f"a memory of sprites takes vectors [..., {self.vector}] and styles [...], not {list(vector.shape)} and"
                f" {list(style.shape)}"
            )
        likeness = self._likeness(vector) - ANOTHER_STYLE * ~self.own.T[style]
        return self.table[likeness.argmax(-1), style].long()

    def knows(self, vector: Tensor) -> Tensor:
        """Whether some name is like each vector: [..., vector] → [...] of booleans."""
        return self._likeness(vector).amax(-1) >= LIKE

    def _likeness(self, vector: Tensor) -> Tensor:
        """The cosines of vectors and names, [..., names]."""
        return normalize(vector.float(), dim=-1) @ normalize(self.keys.float(), dim=-1).T

    @torch.no_grad()
    def fit(self, keys: Tensor, table: Tensor, sprites: Tensor, hues: Tensor) -> Self:
        """Remember `sprites` [sprites, 4, side, side] under `keys` [names, vector]: `table` [names, styles] says which
        in each style, −1 where there is none; a name has one at least, which stands in there. `hues` [sprites, 3], as
        `color`, are what a sprite is turned from, negative for one that has not one hue."""
        if table.shape != (self.names, self.styles) or bool((table.amax(1) < 0).any()):
            raise ShapeError(f"the table should be [{self.names}, {self.styles}], with a sprite at least for each name")
        style = torch.zeros(self.sprites, dtype=torch.int16)
        for place, numbers in enumerate(table.T):
            style[numbers[numbers >= 0].long()] = place
        self.kept.fit(sprites, style)
        self.keys.copy_(keys)
        self.hues.copy_(hues)
        self.own.copy_(table >= 0)
        self.table.copy_(torch.where(table >= 0, table, table.amax(1, keepdim=True)))
        return self
