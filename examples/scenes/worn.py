"""What faces wear: where hats, glasses, headphones and scarves go, by the outline of the face."""

from dataclasses import dataclass

import numpy as np
from scenes.pictures import SIDE, Box, Pictures, Square
from scenes.scene import span

FACES = {
    "cat": (0.52, 0.8), "dog": (0.42, 0.75), "mouse": (0.5, 0.6), "tiger": (0.42, 0.8), "cow": (0.36, 0.55),
    "pig": (0.42, 0.8), "rabbit": (0.62, 0.8), "monkey": (0.42, 0.65), "fox": (0.58, 0.7), "bear": (0.42, 0.8),
    "panda": (0.45, 0.8), "polar bear": (0.42, 0.8), "koala": (0.42, 0.6), "lion": (0.45, 0.65),
    "hamster": (0.45, 0.75), "frog": (0.22, 0.62), "wolf": (0.5, 0.7), "owl": (0.25, 0.8), "penguin": (0.25, 0.6),
    "baby": (0.58, 0.85), "girl": (0.5, 0.75), "man": (0.5, 0.85), "woman": (0.5, 0.75), "old man": (0.5, 0.85),
    "old woman": (0.52, 0.8), "smiley": (0.4, 0.85), "neutral face": (0.4, 0.85), "robot": (0.45, 0.65),
    "alien": (0.5, 0.85), "ghost": (0.32, 0.65), "clown": (0.4, 0.7), "skull": (0.48, 0.85),
    "jack-o-lantern": (0.5, 0.85),
}  # fmt: skip
"""Of each face, how far down its outline the eyes are, and how much of its width the head has without ears or hair."""

ASIDE = {"noto/penguin"}
"""Pictures of these that look aside, where nothing fits."""


@dataclass(frozen=True)
class Fit:
    """How a thing sits on a head: its `width` in widths of the head, and where which edge of it goes.

    `edge` is the point of the thing from its top (0) to its bottom (1) that goes to `at`: the "top" of the head, its
    "side", which is as high, the "eyes" or the "chin"; `down` and `aside` move it by that much of the height and the
    width of the head.
    """

    width: float
    edge: float
    at: str
    down: float = 0.0
    aside: float = 0.0
    depth: float = 0.5


WEARABLES = {
    "top hat": Fit(0.95, 1.0, "top", 0.12),
    "sun hat": Fit(1.1, 1.0, "top", 0.16),
    "crown": Fit(0.75, 1.0, "top", 0.1),
    "cap": Fit(0.95, 1.0, "top", 0.2),
    "graduation cap": Fit(1.05, 0.75, "top", 0.08),
    "glasses": Fit(0.95, 0.5, "eyes"),
    "sunglasses": Fit(0.95, 0.5, "eyes"),
    "goggles": Fit(1.0, 0.65, "eyes"),
    "diving mask": Fit(0.9, 0.36, "eyes"),
    "bow": Fit(0.5, 0.5, "side", 0.06, 0.2),
    "cherry blossom": Fit(0.35, 0.5, "side", 0.12, 0.28),
    "headphones": Fit(1.5, 0.0, "top", -0.08),
    "scarf": Fit(0.95, 0.2, "chin", -0.06, depth=-1.0),
}

WORDINGS = {
    "top": ("{a} in {b}", "{a} wearing {b}", "{a} with {b}"),
    "eyes": ("{a} wearing {b}", "{a} with {b}", "{a} in {b}"),
    "chin": ("{a} in {b}", "{a} wearing {b}", "{a} with {b}"),
    "side": ("{a} wearing {b}", "{a} with {b}", "{a} with {b}"),
}


@dataclass(frozen=True)
class Head:
    """A head in the frame of its picture: its middle, the line of each place, its width and height."""

    middle: float
    lines: dict[str, float]
    width: float
    height: float


def head(pictures: Pictures, name: str, word: str) -> Head:
    """The head of a face, measured from the outline of its picture."""
    left, top, right, bottom = pictures.box(name)
    eyes, width = FACES[word]
    middle, height = (left + right) / 2, bottom - top
    near = slice(round((middle - 0.06) * SIDE), round((middle + 0.06) * SIDE))
    outline = pictures.outline(name)[:, near]
    scalp = float(np.median(outline.argmax(0)[outline.any(0)])) / SIDE  # lower than the box where ears rise beside it
    lines = {"top": scalp, "side": scalp, "eyes": top + eyes * height, "chin": bottom}
    return Head(middle, lines, width * (right - left), height)


def squares(pictures: Pictures, face: tuple[str, str], worn: list[tuple[str, str]]) -> list[Square]:
    """x, y and side of the squares of a face, given as (name, word), and of what it wears, in the frame of the face."""
    measured, found = head(pictures, *face), [(0.5, 0.5, 1.0)]
    for name, word in worn:
        fit = WEARABLES[word]
        left, top, right, bottom = pictures.box(name)
        side = fit.width * measured.width / (right - left)
        edge = top + fit.edge * (bottom - top)
        x = measured.middle + fit.aside * measured.width - ((left + right) / 2 - 0.5) * side
        y = measured.lines[fit.at] + fit.down * measured.height - (edge - 0.5) * side
        found.append((x, y, side))
    return found


def group(boxes: list[Box], squares: list[Square]) -> tuple[Box, list[Square]]:
    """The squares in a frame of their own, and the box of them all in it: a face with what it wears, as one thing."""
    spans = [span(box, *square) for box, square in zip(boxes, squares, strict=True)]
    left, top = min(one[0] for one in spans), min(one[1] for one in spans)
    width, height = max(one[2] for one in spans) - left, max(one[3] for one in spans) - top
    side = max(width, height)
    inside = [((x - left) / side, (y - top) / side, one / side) for x, y, one in squares]
    return (0.0, 0.0, width / side, height / side), inside


def within(frame: Square, squares: list[Square]) -> list[Square]:
    """Squares of a frame on the canvas, where the frame is a square of it."""
    x, y, side = frame
    return [(x + (a - 0.5) * side, y + (b - 0.5) * side, one * side) for a, b, one in squares]
