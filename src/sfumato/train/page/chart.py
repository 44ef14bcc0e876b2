"""Charts as lines and marks in percent of their width and height, so that they fit any screen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfumato.media.image.plot import nice_step

Marks = list[tuple[float, str]]
"""Marks of an axis: where, in percent from the left or from the top, and their words."""
_SMOOTH = 30
"""The share of a chart that a smoothed value is the mean of: one in so many."""


@dataclass(frozen=True)
class Chart:
    """A line over steps, and the same before it was smoothed: both as the path of an SVG of 1000 by 1000."""

    title: str
    line: str
    raw: str
    across: Marks
    up: Marks


def chart(title: str, steps: Sequence[int], values: Sequence[float], smooth: bool = False, log: bool = False) -> Chart:
    """A chart of `values` over `steps`, on an axis of powers of ten where `log` is asked for and all are positive."""
    x, y = np.array(steps, float), np.array(values, float)
    log = log and bool((y > 0).all())
    y = np.log10(y) if log else y
    low, high = (float(y.min()), float(y.max())) if log else (min(float(y.min()), 0.0), float(y.max()))
    room = 0.04 * (high - low) or (0.1 if log else abs(high) or 1.0)
    low, high = low - (room if log or low < 0 else 0), high + room
    last = max(float(x.max()), 1.0)
    places = lambda values: (1 - (values - low) / (high - low)) * 1000  # noqa: E731
    shown = smoothed(y) if smooth else y
    return Chart(
        title,
        _path(x / last * 1000, places(shown)),
        _path(x / last * 1000, places(y)) if smooth else "",
        [(100 * place / last, words) for place, words in _ticks(0, last, 6)],
        [(places(place) / 10, words) for place, words in (_powers(low, high) if log else _ticks(low, high, 4))],
    )


def smoothed(values: np.ndarray) -> np.ndarray:
    """Each value's mean with those around it; fewer at the ends."""
    half = len(values) // _SMOOTH // 2 + (len(values) > 4)
    window = np.ones(2 * half + 1)
    counts = np.convolve(np.ones(len(values)), window)[half : half + len(values)]
    return np.convolve(values, window)[half : half + len(values)] / counts


def _path(x: np.ndarray, y: np.ndarray) -> str:
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return f"M{'L'.join(points if len(points) > 1 else points * 2)}"


def _ticks(low: float, high: float, most: int) -> Marks:
    step = nice_step(high - low, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, short(i * step)) for i in range(first, last + 1)]


def _powers(low: float, high: float) -> Marks:
    """Marks of an axis of powers of ten: 1, 2 and 5 times each, or fewer where they are many, or plain ones where it
    is short."""
    for factors in ((1, 2, 5), (1,)):
        found = [
            (math.log10(factor) + power, short(factor * 10.0**power))
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
            if low <= math.log10(factor) + power <= high
        ]
        if 2 <= len(found) <= 7:
            return found
    if high - low > 1:
        return found[:: math.ceil(len(found) / 7)]
    return [(math.log10(value), words) for value, words in _ticks(10**low, 10**high, 4) if value > 0]


def short(value: float) -> str:
    """A number in few signs: 0.025, 1,500, 2.5M, 1e-05."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
