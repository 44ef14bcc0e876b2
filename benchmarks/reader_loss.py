"""What a reader of scenes is fitted by: the losses of its finder and its namer, on scenes whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from reader import CELLS, KINDS, Finder, Namer, cut_out
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, cross_entropy, interpolate, l1_loss

UNKNOWN = -1


@dataclass(frozen=True)
class Truth:
    """A thing that stands in a scene, as `reader.Thing` reads it, with numbers in place of words; −1 is not known."""

    answers: tuple[int, ...]
    worn: bool
    x: float
    y: float
    side: float
    covered: bool


Example = tuple[npt.NDArray[np.uint8], Sequence[Truth]]
"""A scene [128, 128, 3], and what stands in it."""


@dataclass(frozen=True)
class Batch:
    """Pictures [b, 3, 128, 128] in [−1, 1]; of each thing in them its picture [m], kind [m], square [m, 3], whether
    it is covered [m], and the answers of the namer [m, questions]."""

    pictures: Tensor
    of: Tensor
    kind: Tensor
    squares: Tensor
    covered: Tensor
    answers: Tensor

    @classmethod
    def of_examples(cls, examples: Sequence[Example]) -> "Batch":
        pictures = torch.from_numpy(np.stack([picture for picture, _ in examples])).permute(0, 3, 1, 2) / 127.5 - 1
        things = [(place, thing) for place, (_, truth) in enumerate(examples) for thing in truth]
        return cls(
            pictures,
            torch.tensor([place for place, _ in things]),
            torch.tensor([int(thing.worn) for _, thing in things]),
            torch.tensor([(thing.x, thing.y, thing.side) for _, thing in things]),
            torch.tensor([float(thing.covered) for _, thing in things]),
            torch.tensor([thing.answers for _, thing in things]),
        )


def cells(squares: Tensor) -> tuple[Tensor, Tensor]:
    """The centres in cells [m, 2] from the left and the top, and the cells (x, y) that they lie in [m, 2]."""
    centre = (squares[:, :2] + 1) * (CELLS / 2)
    return centre, centre.long().clamp(0, CELLS - 1)


def heat(batch: Batch) -> Tensor:
    """1 at the cell of each centre, and a bell around it [b, 2, 16, 16] (arXiv:1904.07850)."""
    _, cell = cells(batch.squares)
    axis = torch.arange(CELLS)
    far = (axis[None, :, None] - cell[:, 1, None, None]) ** 2 + (axis[None, None] - cell[:, 0, None, None]) ** 2
    heat = torch.zeros(len(batch.pictures), len(KINDS), CELLS, CELLS)
    for place, kind, bell in zip(batch.of, batch.kind, torch.exp(-far / (2 * 0.7**2)), strict=True):
        heat[place, kind] = torch.maximum(heat[place, kind], bell)
    return heat


def found_loss(maps: Tensor, batch: Batch) -> Tensor:
    """The focal loss of the heat; and at each centre the L1 loss of offset and side, and whether it is covered."""
    wanted, logits = heat(batch), maps[:, :, 0]
    chance = logits.sigmoid()
    at = wanted == 1
    right = -nn.functional.logsigmoid(logits) * (1 - chance) ** 2
    wrong = -nn.functional.logsigmoid(-logits) * chance**2 * (1 - wanted) ** 4
    focal = torch.where(at, right, wrong).sum() / len(batch.of)
    centre, cell = cells(batch.squares)
    own = maps[batch.of, batch.kind, :, cell[:, 1], cell[:, 0]]
    square = torch.cat([centre - cell - 0.5, batch.squares[:, 2:].log()], 1)
    return focal + l1_loss(own[:, 1:4], square) + 0.2 * binary_cross_entropy_with_logits(own[:, 4], batch.covered)


def named_loss(answers: Sequence[Tensor], batch: Batch) -> Tensor:
    """The mean cross-entropies of the questions, each of the things whose answer is known."""
    losses = [
        cross_entropy(given, wanted, ignore_index=UNKNOWN)
        for given, wanted in zip(answers, batch.answers.unbind(1), strict=True)
        if bool((wanted != UNKNOWN).any())
    ]
    return torch.stack(losses).sum()


def spoiled(pictures: Tensor, chance: torch.Generator) -> Tensor:
    """Pictures as a codec or a network may give them: some of them blurred, some noisy, all in [−1, 1]."""
    draws = torch.rand(3, len(pictures), 1, 1, 1, generator=chance)
    small = interpolate(avg_pool2d(pictures, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    blurred = pictures + (draws[0] < 0.5) * draws[1] * (small - pictures)
    noise = torch.randn(pictures.shape, generator=chance) * (0.1 * draws[2].sub(0.5).clamp(min=0))
    return (blurred + noise).clamp(-1, 1)


def jittered(squares: Tensor, chance: torch.Generator) -> Tensor:
    """Squares as the finder may give them: moved and resized by a few hundredths of their side."""
    noise = 0.05 * torch.randn(squares.shape, generator=chance)
    moved = squares[:, :2] + 2 * noise[:, :2] * squares[:, 2:]
    return torch.cat([moved, squares[:, 2:] * noise[:, 2:].exp()], 1)


def loss(finder: Finder, namer: Namer, batch: Batch, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Those of the finder and of the namer; `chance` spoils what they see."""
    pictures = spoiled(batch.pictures, chance)
    maps, _ = finder(pictures)
    answers, _ = namer(cut_out(pictures, batch.of, jittered(batch.squares, chance)))
    return found_loss(maps, batch), named_loss(answers, batch)
