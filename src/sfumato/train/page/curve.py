"""What `log.jsonl` says, in as many points as a chart shows."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sfumato.disk import open_file

MOST_POINTS = 1000
_WHOLE = 2**20
"""Bytes of a log that is read whole; of a longer one, so much is read in all, in pieces from all over it."""


@dataclass(frozen=True)
class Point:
    """The means of some lines of a log: the step after them, loss, and data a second."""

    step: int
    loss: float
    rate: float


def read_curve(path: Path) -> list[Point]:
    """The points of a log, `MOST_POINTS` at most, in the order of their steps. What is no line of a log is passed
    over, and a log that is not there has none."""
    try:
        with open_file(path) as file:
            parts = list(_parts(file, path.stat().st_size))
    except FileNotFoundError:
        return []
    return [point for part in parts if (point := _mean(part)) is not None]


def _parts(file: BinaryIO, size: int) -> Iterator[list[bytes]]:
    """The lines of a log in parts, or of a long one some lines from the beginning of each part, and its last ones."""
    if size <= _WHOLE:
        lines = file.readlines()
        step = max(math.ceil(len(lines) / MOST_POINTS), 1)
        yield from (lines[start : start + step] for start in range(0, len(lines), step))
        return
    length = _WHOLE // MOST_POINTS
    for i in range(MOST_POINTS):
        file.seek(i * (size - length) // (MOST_POINTS - 1))
        piece = file.read(length).split(b"\n")
        yield piece[1:-1] if i else piece[:-1]


def _mean(lines: list[bytes]) -> Point | None:
    found = [point for line in lines if (point := _point(line)) is not None]
    if not found:
        return None
    n = len(found)
    return Point(found[-1].step, sum(point.loss for point in found) / n, sum(point.rate for point in found) / n)


def _point(line: bytes) -> Point | None:
    try:
        values = json.loads(line)
        rate = next(islice((value for name, value in values.items() if name.endswith("_a_second")), 1), 0.0)
        point = Point(int(values["step"]), float(values["loss"]), float(rate))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
    return point if math.isfinite(point.loss) and math.isfinite(point.rate) else None
