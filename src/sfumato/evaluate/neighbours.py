"""The nearest real pictures: do they carry what was asked for, and is a drawn picture only a copy of one?"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sfumato.errors import InputError, ShapeError

CHUNK = 1024


class Neighbours(NamedTuple):
    """The k nearest, nearest first: cosine distances `1 − cos`, from 0 to 2, and places in the gallery, [n, k] each."""

    distance: Tensor
    place: Tensor


class Retrieval(NamedTuple):
    """Shares, from 0 to 1: the asked caption on the nearest real picture; on one of the five nearest; the asked style
    on the nearest."""

    top1: float
    top5: float
    style: float


class Spread(NamedTuple):
    """How distances are spread: the least, the 5 % point, the median and the mean."""

    least: float
    low: float
    median: float
    mean: float


def nearest_neighbours(asked: Tensor, gallery: Tensor, k: int = 1, itself: Tensor | None = None) -> Neighbours:
    """The k nearest features [m, d] of a gallery to each of the features [n, d], by cosine; the first among equals.

    `itself` [n] is the place in the gallery that each may not find, its own, or −1: leave-one-out.
    """
    if asked.ndim != 2 or gallery.ndim != 2 or asked.shape[1] != gallery.shape[1]:
        raise ShapeError(f"features must be [n, d] and [m, d], not {list(asked.shape)} and {list(gallery.shape)}")
    if not len(asked) or not 1 <= k <= len(gallery) - (itself is not None):
        raise InputError(f"there are no {k} nearest of {len(gallery)} for each of {len(asked)}: give more pictures")
    if itself is not None and itself.shape != asked.shape[:1]:
        raise ShapeError(f"itself must hold {len(asked)} places, one for each of the asked, not {list(itself.shape)}")
    gallery = normalize(gallery.double(), dim=1)
    found = []
    for start in range(0, len(asked), CHUNK):
        distance = 1 - normalize(asked[start : start + CHUNK].double(), dim=1) @ gallery.T
        if itself is not None:
            own = itself[start : start + CHUNK]
            rows = torch.nonzero(own >= 0).flatten()
            distance[rows, own[rows]] = torch.inf
        ordered = distance.sort(dim=1, stable=True)
        found.append((ordered.values[:, :k], ordered.indices[:, :k]))
    distances, places = zip(*found, strict=True)
    return Neighbours(torch.cat(distances).clamp(min=0), torch.cat(places))


def retrieval(
    drawn: Tensor,
    real: Tensor,
    asked_captions: Sequence[str],
    real_captions: Sequence[str],
    asked_styles: Sequence[str],
    real_styles: Sequence[str],
    itself: Tensor | None = None,
) -> Retrieval:
    """Do the nearest of the real pictures carry what each drawn one was asked to show? Features [n, d] and [m, d].

    `top1` asks the nearest real picture and `top5` the five nearest, whatever their captions: it is a hit if one of
    them carries the very caption that was asked for, in whatever style. `style` asks the nearest alone, whatever its
    caption. With `itself`, as in `nearest_neighbours`, real pictures can be measured as if they were drawn.
    """
    for feature, texts, who in (
        (drawn, (asked_captions, asked_styles), "drawn"),
        (real, (real_captions, real_styles), "real"),
    ):
        for text in texts:
            if len(text) != len(feature):
                raise InputError(f"{len(feature)} {who} pictures need as many captions and styles, not {len(text)}")
    places = nearest_neighbours(drawn, real, 5, itself).place.tolist()
    hits = [
        [real_captions[place] == caption for place in five]
        for five, caption in zip(places, asked_captions, strict=True)
    ]
    styles = [real_styles[five[0]] == style for five, style in zip(places, asked_styles, strict=True)]
    return Retrieval(_share([hit[0] for hit in hits]), _share([any(hit) for hit in hits]), _share(styles))


def spread(distances: Tensor) -> Spread:
    """Of distances [n] to the nearest training picture, say: where drawn pictures are far nearer to it than held-out
    real ones are, the system repeats what it saw."""
    if not distances.numel():
        raise InputError("there are no distances to speak of: give at least one picture")
    values = distances.double().flatten()
    low, median = torch.quantile(values, torch.tensor([0.05, 0.5], dtype=values.dtype, device=values.device)).tolist()
    return Spread(float(values.min()), low, median, float(values.mean()))


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
