"""A scene: its caption, where each thing of it stands, and the picture of it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from scenes.pictures import SIDE, STYLES, Box, Pictures

PLACES = 5  # things at most
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Placed:
    """A picture in its square: the centre and the side as fractions of the canvas, the depth from −1 to 1 in front."""

    picture: str
    colour: str | None
    x: float
    y: float
    side: float
    depth: float = 0.0


@dataclass(frozen=True)
class Ground:
    """The background: RGB at the top and at the bottom, and whether it is plain white."""

    top: Colour = WHITE
    bottom: Colour = WHITE

    @property
    def plain(self) -> bool:
        return self.top == self.bottom == WHITE


@dataclass(frozen=True)
class Scene:
    """What a caption says and how it looks.

    `phrases` and `placed` are in order of mention, one for each thing. `facts` holds, for each thing of "things", its
    word, the colour asked for or None, and its box (left, top, right, bottom; fractions of the canvas), "wears" and
    "relations" by the places of things, and "number" where one was asked for. `pairs` are what may be held out.
    """

    caption: str
    kind: str
    style: str
    phrases: tuple[str, ...]
    placed: tuple[Placed, ...]
    ground: Ground
    facts: dict[str, Any]
    pairs: frozenset[tuple[str, str, str]]
    pictures: Pictures = field(repr=False, compare=False)

    def layout(self) -> np.ndarray:
        """The layout, float32 [12, 1 + 5]: column 0 the style and the ground, then x, y, side and depth of each."""
        numbers = np.zeros((12, 1 + PLACES), np.float32)
        numbers[:5, 0] = [1 if style == self.style else -1 for style in STYLES.values()]
        numbers[5, 0] = 1 if self.ground.plain else -1
        numbers[6:, 0] = np.array([*self.ground.top, *self.ground.bottom]) / 127.5 - 1
        numbers[2, 1:] = -1  # a place without a thing, unless there is one
        for place, one in enumerate(self.placed, 1):
            numbers[:4, place] = 2 * one.x - 1, 2 * one.y - 1, 2 * one.side - 1, one.depth
        return numbers


def span(box: Box, x: float, y: float, side: float) -> Box:
    """The box on the canvas of what has `box` in its frame, when the frame is a square of `side` around x and y."""
    left, top = x - side / 2, y - side / 2
    return left + box[0] * side, top + box[1] * side, left + box[2] * side, top + box[3] * side


def picture(scene: Scene, size: int = SIDE) -> np.ndarray:
    """The picture of a scene, uint8 [size, size, 3].

    A smaller size that divides the usual one is that picture made smaller, so that things stand at the same place.
    """
    if size < SIDE and SIDE % size == 0:
        return np.asarray(Image.fromarray(picture(scene)).reduce(SIDE // size))
    canvas = _ground(scene.ground, size)
    order = sorted(range(len(scene.placed)), key=lambda place: scene.placed[place].depth)
    for one in (scene.placed[place] for place in order):
        image, side = scene.pictures.image(one.picture, one.colour), max(1, round(one.side * size))
        if side != image.width:
            image = image.resize((side, side), Image.Resampling.HAMMING)
        canvas.paste(image, (round(one.x * size - side / 2), round(one.y * size - side / 2)), image)
    return np.asarray(canvas)


def _ground(ground: Ground, size: int) -> Image.Image:
    """The background, shaded evenly from its top to its bottom."""
    if ground.top == ground.bottom:
        return Image.new("RGB", (size, size), ground.top)
    top, bottom = np.array(ground.top, np.float32), np.array(ground.bottom, np.float32)
    shades = top + (bottom - top) * np.linspace(0, 1, size, dtype=np.float32)[:, None]
    return Image.fromarray(np.repeat(np.round(shades).astype(np.uint8)[:, None], size, 1))
