"""A memory of small pictures, asked by vectors."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.recolor import recolored

ANOTHER_STYLE = 0.15
"""What a name loses, of cosines, where it has no sprite in the style that is asked for: rather the thing that was named
in another style than another thing in that style."""
_MOST = 2**24


class SpriteMemory(nn.Module):
    """Sprites, small pictures with transparency, kept under names in `styles`, and found by the vector of a name.

    A key–value memory (arXiv:1606.03126) whose keys are vectors of names [names, vector] and which attends to the
    nearest alone: `argmax_k cos(key_k, q)`, less `ANOTHER_STYLE` for names that have no sprite in the style.
    A sprite [4, side, side], colours times opacity and the opacity, is `mean + Σ_r scale_r·code_r·basis_r` with
    `code` of 8 bits: the first `rank` principal components of all sprites, fitted in closed form and not trained.
    """

    def __init__(self, vector: int, names: int, sprites: int, styles: int, rank: int = 1024, side: int = 32) -> None:
        super().__init__()
        for name, value in (("vector", vector), ("names", names), ("sprites", sprites), ("styles", styles)):
            if not 1 <= value <= _MOST:
                raise InputError(f"{name} must be from 1 to {_MOST:,}, not {value:,}")
        if not (1 <= side <= 256 and 1 <= rank <= 4 * side**2):
            raise InputError(f"side must be from 1 to 256 and rank from 1 to 4·side², not {side:,} and {rank:,}")
        self.vector, self.names, self.sprites, self.styles, self.rank, self.side = (
            vector, names, sprites, styles, rank, side,
        )  # fmt: skip
        self.register_buffer("keys", torch.zeros(names, vector))
        self.register_buffer("table", torch.zeros(names, styles, dtype=torch.int32))
        self.register_buffer("own", torch.zeros(names, styles, dtype=torch.bool))
        self.register_buffer("codes", torch.zeros(sprites, rank, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(rank))
        self.register_buffer("basis", torch.zeros(rank, 4 * side**2))
        self.register_buffer("mean", torch.zeros(4 * side**2))
        self.register_buffer("hues", torch.full((sprites, 3), -1.0))

    keys: Tensor
    table: Tensor
    own: Tensor
    codes: Tensor
    scale: Tensor
    basis: Tensor
    mean: Tensor
    hues: Tensor

    def forward(self, vector: Tensor, style: Tensor, color: Tensor | None = None) -> Tensor:
        """Vectors [..., vector] and places of styles [...] → sprites [..., 4, side, side].

        `color` [..., 3], hue in degrees, saturation and value in [0, 1], turns sprites of one hue to it; a negative hue
        leaves them as they are.
        """
        found = self.find(vector, style)
        sprite = self.mean.float() + (self.codes[found].float() * self.scale.float()) @ self.basis.float()
        sprite = sprite.unflatten(-1, (4, self.side, self.side))
        alpha = sprite[..., 3:, :, :].clamp(0, 1)
        colors = torch.minimum(sprite[..., :3, :, :].clamp_min(0), alpha)
        if color is not None:
            old = self.hues[found].float()
            turns = (color[..., 0] >= 0) & (old[..., 0] >= 0)
            other = alpha * recolored(colors / alpha.clamp_min(1e-4), old, color.float())
            colors = torch.where(turns[..., None, None, None], other, colors)
        return torch.cat([colors, alpha], dim=-3)

    def find(self, vector: Tensor, style: Tensor) -> Tensor:
        """The number of the sprite for each vector in each style: [...]."""
        if vector.shape[-1] != self.vector or vector.shape[:-1] != style.shape:
            raise ShapeError(
                f"a memory of sprites takes vectors [..., {self.vector}] and styles [...], not {list(vector.shape)} and"
                f" {list(style.shape)}"
            )
        likeness = normalize(vector.float(), dim=-1) @ normalize(self.keys.float(), dim=-1).T
        likeness = likeness - ANOTHER_STYLE * ~self.own.T[style]
        return self.table[likeness.argmax(-1), style].long()

    @torch.no_grad()
    def fit(self, keys: Tensor, table: Tensor, sprites: Tensor, hues: Tensor) -> Self:
        """Remember `sprites` [sprites, 4, side, side] under `keys` [names, vector]: `table` [names, styles] says which
        in each style, −1 where there is none; a name has one at least, and the others stand in. `hues` [sprites, 3] are
        what `color` turns from, a negative hue where there is not one."""
        if table.shape != (self.names, self.styles) or bool((table.amax(1) < 0).any()):
            raise ShapeError(f"the table should be [{self.names}, {self.styles}], with a sprite at least for each name")
        flat = sprites.flatten(1).float()
        mean = flat.mean(0)
        _, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean))
        basis = vectors[:, -self.rank :].flip(1).T
        coefficients = (flat - mean) @ basis.T
        scale = coefficients.abs().amax(0).clamp_min(1e-8) / 127
        self.codes.copy_((coefficients / scale).round().to(torch.int8))
        for own, value in (
            (self.keys, keys),
            (self.scale, scale),
            (self.basis, basis),
            (self.mean, mean),
            (self.hues, hues),
        ):
            own.copy_(value)
        self.own.copy_(table >= 0)
        self.table.copy_(torch.where(table >= 0, table, table.amax(1, keepdim=True)))
        return self
