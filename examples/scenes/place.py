"""Where things go: drawn at random until they stand as they are asked to."""

from collections.abc import Callable, Sequence
from random import Random

from scenes.pictures import Box, Square
from scenes.scene import span

Sides = Sequence[tuple[float, float]]
"""The least and the greatest side of each thing."""
MARGIN = 0.02  # at the edges of the canvas
TRIES, TRIES_EACH = 60, 12


class Again(Exception):
    """What was drawn does not go together; the scene is drawn anew."""


def pack(r: Random, boxes: Sequence[Box], sides: Sides, fits: Callable[[Sequence[Box]], bool]) -> list[Square]:
    """Squares within the canvas for things of these boxes; `fits` says of the spans so far if the last can stay.

    They are drawn anew, and smaller, when one of them finds no room.
    """
    for attempt in range(TRIES):
        most = 1 - attempt / TRIES
        squares, spans = [], []
        for box, (low, high) in zip(boxes, sides, strict=True):
            side = low + (high - low) * most * r.random()
            tried = (_within(r, box, side) for _ in range(TRIES_EACH))
            found = next((at for at in tried if fits([*spans, span(box, *at)])), None)
            if not found:
                break
            squares.append(found)
            spans.append(span(box, *found))
        else:
            return squares
    raise Again


def apart(spans: Sequence[Box]) -> bool:
    """Whether the last overlaps none before it, or hardly."""
    last = spans[-1]
    return all(overlap(one, last) <= 0.02 * min(area(one), area(last)) for one in spans[:-1])


def _within(r: Random, box: Box, side: float) -> Square:
    """Anywhere, so that the box is within the canvas."""
    x = MARGIN + (0.5 - box[0]) * side + max(0.0, 1 - 2 * MARGIN - (box[2] - box[0]) * side) * r.random()
    y = MARGIN + (0.5 - box[1]) * side + max(0.0, 1 - 2 * MARGIN - (box[3] - box[1]) * side) * r.random()
    return x, y, side


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _middles(one: Box, other: Box) -> tuple[float, float]:
    """How far the middle of one is right of and below that of the other."""
    return (one[0] + one[2] - other[0] - other[2]) / 2, (one[1] + one[3] - other[1] - other[3]) / 2


def middle(box: Box) -> tuple[float, float]:
    """The middle of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def left_of(one: Box, other: Box) -> bool:
    return one[2] <= other[0] + 0.02 and abs(_middles(one, other)[1]) < 0.16


def above(one: Box, other: Box) -> bool:
    return one[3] <= other[1] + 0.02 and abs(_middles(one, other)[0]) < 0.16


def on(one: Box, other: Box) -> bool:
    return -0.01 <= one[3] - other[1] <= 0.08 and abs(_middles(one, other)[0]) < 0.12


def next_to(one: Box, other: Box) -> bool:
    near = max(one[0], other[0]) - min(one[2], other[2]) < 0.14
    return near and (left_of(one, other) or left_of(other, one))


def in_front_of(one: Box, other: Box) -> bool:
    """One hides a part of the other, and stands lower."""
    shared = overlap(one, other)
    lower = one[3] >= other[3] - 0.03 and _middles(one, other)[1] > 0.06
    return lower and 0.25 * area(one) < shared < 0.4 * area(other)


RELATIONS: dict[str, Callable[[Box, Box], bool]] = {
    "left of": left_of,
    "right of": lambda one, other: left_of(other, one),
    "above": above,
    "below": lambda one, other: above(other, one),
    "next to": next_to,
    "on": on,
    "in front of": in_front_of,
    "behind": lambda one, other: in_front_of(other, one),
}
"""Whether the box of one thing stands so to that of another."""
