"""Pictures kept in few bytes: principal components of their patches, in eight bits and in four."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d

from sfumato.errors import InputError, ShapeError
from sfumato.nn.image.pca import PCA

_FINE, _COARSE = 127, 7
"""The largest code of eight bits and of four."""
_REACH = 3.5
"""How many standard deviations the codes of four bits span on either side: rarer numbers are cut off."""


class PatchCodes(nn.Module):
    """Pictures [pictures, channels, side, side] in `groups`, each group with principal components of its own.

    A patch is `mean + basisᵀ·(scale·code)`: `rank` components (`PCA`) of the patches of its group, of which the first
    `fine` have codes of 8 bits and the others, which vary less, of 4 bits, two in a byte: `fine + (rank − fine)/2`
    bytes a patch. Fitted in closed form, and not trained.
    """

    def __init__(
        self, pictures: int, groups: int = 1, channels: int = 4, rank: int = 320, fine: int = 64, patch: int = 16,
        side: int = 64,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 <= fine <= rank or (rank - fine) % 2:
            raise InputError(f"fine must be from 0 to the rank, and leave an even number, not {fine:,} of {rank:,}")
        PCA(channels, rank, patch).check_size(side, side)
        self.pictures, self.groups, self.channels = pictures, groups, channels
        self.rank, self.fine, self.patch, self.side = rank, fine, patch, side
        places = side // patch
        self.basis = nn.Parameter(torch.zeros(groups, rank, channels * patch**2), requires_grad=False)
        self.mean = nn.Parameter(torch.zeros(groups, channels), requires_grad=False)
        self.register_buffer("scale", torch.zeros(groups, rank))
        self.register_buffer("group", torch.zeros(pictures, dtype=torch.int16))
        self.register_buffer("bytes", torch.zeros(pictures, fine, places, places, dtype=torch.int8))
        self.register_buffer("halves", torch.zeros(pictures, (rank - fine) // 2, places, places, dtype=torch.uint8))

    scale: Tensor
    group: Tensor
    bytes: Tensor
    halves: Tensor

    def forward(self, numbers: Tensor) -> Tensor:
        """Pictures by their numbers [n], as they were kept: [n, channels, side, side], float32."""
        group = self.group[numbers].long()
        codes = torch.cat([self.bytes[numbers].float(), unpacked(self.halves[numbers])], 1)
        codes = codes * self.scale.float()[group][:, :, None, None]
        found = codes.new_empty(len(numbers), self.channels, self.side, self.side)
        for one in group.unique().tolist():
            of = group == one
            basis = self.basis[one].float().view(self.rank, self.channels, self.patch, self.patch)
            found[of] = conv_transpose2d(codes[of], basis, self.mean[one].float(), self.patch)
        return found

    @torch.no_grad()
    def fit(self, pictures: Tensor, group: Tensor) -> Self:
        """Keep `pictures`, of which each is of a `group` [pictures]. A `ShapeError` for what does not fit."""
        wanted = [self.pictures, self.channels, self.side, self.side]
        if [*pictures.shape] != wanted or group.shape != pictures.shape[:1]:
            raise ShapeError(
                f"pictures should be {wanted}, with a group each, not {[*pictures.shape]} with {[*group.shape]}"
            )
        group = self.group.copy_(group)
        for one in group.unique().tolist():
            of = group == one
            components = PCA(self.channels, self.rank, self.patch).fit(pictures[of])
            z = components.encode(pictures[of])
            spread, most = z.square().mean((0, 2, 3)).sqrt(), z.abs().amax((0, 2, 3))
            scale = torch.cat([most[: self.fine] / _FINE, _REACH * spread[self.fine :] / _COARSE]).clamp_min(1e-8)
            codes = (z / scale[:, None, None]).round()
            assert components.leave.bias is not None
            self.basis[one], self.mean[one] = components.leave.weight.flatten(1), components.leave.bias
            self.scale[one] = scale
            self.bytes[of] = codes[:, : self.fine].clamp(-_FINE, _FINE).to(torch.int8)
            self.halves[of] = packed(codes[:, self.fine :].clamp(-_COARSE, _COARSE))
        return self


def packed(codes: Tensor) -> Tensor:
    """Whole numbers from −8 to 7 [n, 2·m, ...] → bytes [n, m, ...], two in each."""
    low, high = (codes + 8).to(torch.uint8).unflatten(1, (-1, 2)).unbind(2)
    return low | high << 4


def unpacked(halves: Tensor) -> Tensor:
    """The inverse of `packed`, as float32."""
    return torch.stack([halves & 15, halves >> 4], 2).flatten(1, 2).float() - 8
