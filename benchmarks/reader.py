"""A network that reads scenes: which things stand where, how large, in which colour, and which of them are worn.

Two parts, both small, fitted on real scenes alone by `fit_reader.py`. The finder sees the whole picture and says where
the centres of things are, as CenterNet does (arXiv:1904.07850): a heat map of things that stand by themselves and one
of worn things, each with offset, side and whether something nearer covers a part of the thing. The namer sees each
square that was found, cut out and brought to 32×32 (a spatial transformer, arXiv:1506.02025), and says its word, colour
and style.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    grid_sample,
    interpolate,
    max_pool2d,
    normalize,
    pixel_unshuffle,
)

from sfumato.errors import FormatError
from sfumato.files import read_tensors, write_tensors
from sfumato.wording import one_line

CELLS, CROP, MOST = 16, 32, 8
"""Places across of a heat map; the side of a cut-out in pixels; things read of a picture at most."""
MARGIN = 1.1
"""The side of a cut-out in sides of the thing's square."""
KINDS = ("standing", "worn")
SURE, SAME = 0.35, 0.5
"""The heat from which on a place counts as a centre, and how much of two squares is common if both are of one thing."""
HEAD = 5
"""Of each kind: heat, offset x and y in cells, log of the side, covered."""


@dataclass(frozen=True)
class Thing:
    """One thing read: its word, colour (the nearest of those that scenes turn things to), style, whether it is worn,
    the middle of the box around all of it that is there (−1 left or top … 1 right or bottom), the longer side of that
    box in sides of the picture, and whether another thing covers a part of it."""

    word: str
    colour: str
    style: str
    worn: bool
    x: float
    y: float
    side: float
    covered: bool


class Block(nn.Module):
    """A ConvNeXt block (arXiv:2201.03545): a filter a channel, then two dense layers, added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.dense = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dense(self.filter(x).movedim(1, -1)).movedim(-1, 1)


class Trunk(nn.Module):
    """Pictures [n, 3, h, w] → maps of stride `patch`, 2·`patch` and 4·`patch`, of the three widths."""

    def __init__(self, patch: int, widths: tuple[int, int, int], depth: int) -> None:
        super().__init__()
        self.patch = patch
        first, second, third = widths
        starts = (
            nn.Conv2d(3 * patch**2, first, 3, padding=1),
            nn.Conv2d(first, second, 2, 2),
            nn.Conv2d(second, third, 2, 2),
        )
        self.stages = nn.ModuleList(
            nn.Sequential(start, *(Block(width) for _ in range(depth)))
            for start, width in zip(starts, widths, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        h, maps = pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last), []
        for stage in self.stages:
            h = stage(h)
            maps.append(h)
        return maps


class Finder(nn.Module):
    """Pictures [n, 3, 128, 128] in [−1, 1] → maps [n, 2, 5, 16, 16] of the kinds, and the deepest
    map of its trunk [n, widths[2], 4, 4]."""

    def __init__(self, widths: tuple[int, int, int] = (64, 128, 256), depth: int = 2) -> None:
        super().__init__()
        first, second, third = widths
        self.trunk = Trunk(4, widths, depth)
        self.up = nn.ModuleList([nn.Conv2d(third, second, 1), nn.Conv2d(second, first, 1)])
        self.blocks = nn.ModuleList([Block(second), Block(first)])
        self.head = nn.Conv2d(first, len(KINDS) * HEAD, 3, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        fine, middle, coarse = self.trunk(avg_pool2d(pictures, 2))
        middle = self.blocks[0](middle + interpolate(self.up[0](coarse), scale_factor=2))
        fine = self.blocks[1](fine + interpolate(self.up[1](middle), scale_factor=2))
        return self.head(fine).unflatten(1, (len(KINDS), HEAD)), coarse


class Namer(nn.Module):
    """Cut-outs [n, 3, 32, 32] → logits of each question (which word, colour, style: of as many answers as `sizes`), and
    the features [n, widths[2]] that they come of."""

    def __init__(self, sizes: Sequence[int], widths: tuple[int, int, int] = (64, 128, 256), depth: int = 2) -> None:
        super().__init__()
        self.trunk = Trunk(2, widths, depth)
        self.norm = nn.LayerNorm(widths[2])
        self.answers = nn.ModuleList(nn.Linear(widths[2], size) for size in sizes)

    def forward(self, cut: Tensor) -> tuple[list[Tensor], Tensor]:
        features = self.norm(self.trunk(cut)[-1].mean((2, 3)))
        return [answer(features) for answer in self.answers], features


def cut_out(pictures: Tensor, of: Tensor, squares: Tensor) -> Tensor:
    """The `squares` [m, 3] (x, y, side as in `Thing`) of the pictures `of` [m] → [m, 3, 32, 32]."""
    zero = torch.zeros_like(squares[:, 2])
    side = squares[:, 2] * MARGIN
    theta = torch.stack([side, zero, squares[:, 0], zero, side, squares[:, 1]], 1).view(-1, 2, 3)
    grid = affine_grid(theta, [len(squares), 3, 2 * CROP, 2 * CROP], align_corners=False)
    return avg_pool2d(grid_sample(pictures[of], grid, padding_mode="border", align_corners=False), 2)


class Reader(nn.Module):
    """Both parts, and the `words`, `colours` and `styles` that the namer knows; `worn` are the words of things that are
    worn in scenes. Raises a `FormatError` for a file that holds no reader."""

    def __init__(
        self, words: Sequence[str], worn: Sequence[str], colours: Sequence[str], styles: Sequence[str]
    ) -> None:
        super().__init__()
        self.words, self.worn, self.colours, self.styles = (tuple(names) for names in (words, worn, colours, styles))
        self.finder, self.namer = Finder(), Namer([len(words), len(colours), len(styles)])

    @staticmethod
    def load(path: Path) -> "Reader":
        tensors, about = read_tensors(path)
        try:
            own = about["reader"]
            reader = Reader(own["words"], own["worn"], own["colours"], own["styles"])
            reader.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except (KeyError, TypeError, RuntimeError) as error:
            raise FormatError(f"{path} holds no reader of scenes: {one_line(str(error))}") from error
        return reader.eval()

    def save(self, path: Path) -> None:
        """In half precision: the file is half as long, and reads alike."""
        own = {"words": self.words, "worn": self.worn, "colours": self.colours, "styles": self.styles}
        write_tensors(path, {name: tensor.half() for name, tensor in self.state_dict().items()}, {"reader": own})

    @torch.no_grad()
    def read(self, pictures: Tensor) -> list[list[Thing]]:
        """What stands in each of the pictures [n, 3, 128, 128] in [−1, 1], the surest first; of two squares of one word
        that are nearly the same one counts."""
        maps, _ = self.finder(pictures)
        of, kind, squares, covered = found(maps, SURE)
        read: list[list[Thing]] = [[] for _ in pictures]
        if len(of) == 0:
            return read
        answers, _ = self.namer(cut_out(pictures, of, squares))
        never = torch.tensor([word not in self.worn for word in self.words])
        answers[0] = answers[0].masked_fill((kind[:, None] == 1) & never, -torch.inf)
        words, colours, styles = (answer.argmax(1).tolist() for answer in answers)
        for i, (x, y, side) in enumerate(squares.tolist()):
            word, colour, style = self.words[words[i]], self.colours[colours[i]], self.styles[styles[i]]
            thing = Thing(word, colour, style, bool(kind[i]), x, y, side, bool(covered[i]))
            if not any(thing.word == other.word and overlap(thing, other) > SAME for other in read[of[i]]):
                read[of[i]].append(thing)
        return read

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """What the finder's deepest map says at each of its places, as one vector of length 1: [n, 4096]."""
        return normalize(self.finder(pictures)[1].flatten(1))


def overlap(one: Thing, other: Thing) -> float:
    """The area that two squares share, over the area of both together."""
    across, down = (
        max(0.0, min(one.side, other.side, (one.side + other.side - abs(a - b)) / 2))
        for a, b in ((one.x, other.x), (one.y, other.y))
    )
    return across * down / (one.side**2 + other.side**2 - across * down)


def found(maps: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The peaks of the heat that reach the threshold, of each picture the `MOST` highest: their pictures [m], kinds
    [m], squares [m, 3] and whether they are covered [m]."""
    chance = maps[:, :, 0].sigmoid()
    peaks = torch.where(chance == max_pool2d(chance, 3, 1, 1), chance, 0).flatten(1)
    height, place = peaks.topk(MOST, dim=1)
    of, rank = (height >= threshold).nonzero(as_tuple=True)
    kind, row, column = torch.unravel_index(place[of, rank], chance.shape[1:])
    own = maps[of, kind, :, row, column]
    centre = (torch.stack([column, row], 1) + 0.5 + own[:, 1:3]) * (2 / CELLS) - 1
    squares = torch.cat([centre, own[:, 3:4].exp().clamp(max=1.5)], 1)
    return of, kind, squares, own[:, 4] > 0
