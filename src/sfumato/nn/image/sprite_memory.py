"""A memory of small pictures, asked by vectors."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.encoded_pictures import EncodedPictures
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
    [4, side, side] is its colours, from 0 to 1, times its opacity, and that. It is kept as its file, of all together
    `file_bytes` bytes (`EncodedPictures`), and comes back to the bit.
    """

    def __init__(self, vector: int, names: int, sprites: int, styles: int, file_bytes: int, side: int = 128) -> None:
        super().__init__()
        for name, value in (("vector", vector), ("names", names), ("sprites", sprites), ("styles", styles)):
            if not 1 <= value <= _MOST:
                raise InputError(f"{name} must be from 1 to {_MOST:,}, not {value:,}")
        self.vector, self.names, self.sprites, self.styles = vector, names, sprites, styles
        self.kept = EncodedPictures(sprites, file_bytes, side)
        self.keys = nn.Parameter(torch.zeros(names, vector), requires_grad=False)
        self.register_buffer("table", torch.zeros(names, styles, dtype=torch.int32))
        self.register_buffer("own", torch.zeros(names, styles, dtype=torch.bool))
        self.register_buffer("hues", torch.full((sprites, 3), -1.0))

    table: Tensor
    own: Tensor
    hues: Tensor

    def forward(self, vector: Tensor, style: Tensor, color: Tensor | None = None) -> Tensor:
        """Vectors [..., vector] and the places of styles [...] → sprites [..., 4, side, side].

        `color` [..., 3], hue in degrees, saturation and value from 0 to 1, is what a sprite of one hue is turned to; a
        negative hue leaves it as it is.
        """
        found = self.find(vector, style)
        colors, alpha = self.kept(found.flatten()).unflatten(0, found.shape).tensor_split([3], dim=-3)
        if color is not None:
            old = self.hues[found].to(colors)
            turns = (color[..., 0] >= 0) & (old[..., 0] >= 0)
            colors = torch.where(turns[..., None, None, None], recolored(colors, old, color.to(colors)), colors)
        return torch.cat([colors * alpha, alpha], dim=-3)

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
    def fit(self, keys: Tensor, table: Tensor, files: Sequence[bytes], hues: Tensor) -> Self:
        """Remember the sprites in `files`, WebP or PNG, of side×side with transparency, under `keys` [names, vector]:
        `table` [names, styles] says which in each style, −1 where there is none; a name has one at least, which stands
        in there. `hues` [sprites, 3], as `color`, are what a sprite is turned from, negative for one that has not one
        hue."""
        if table.shape != (self.names, self.styles) or bool((table.amax(1) < 0).any()):
            raise ShapeError(f"the table should be [{self.names}, {self.styles}], with a sprite at least for each name")
        self.kept.fit(files)
        self.keys.copy_(keys)
        self.hues.copy_(hues)
        self.own.copy_(table >= 0)
        self.table.copy_(torch.where(table >= 0, table, table.amax(1, keepdim=True)))
        return self
