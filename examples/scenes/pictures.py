"""Pictures with transparent backgrounds: where what is drawn stands in the frame, its colour, and it in another one."""

import io
from colorsys import hsv_to_rgb
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from sfumato.condition.colors import HSV
from sfumato.nn.image.recolor import recolored

STYLES = {
    "fluent-3d": "3D style",
    "fluent-flat": "flat style",
    "fluent-high-contrast": "black and white",
    "fxemoji": "Firefox style",
    "noto": "Noto style",
}
"""The styles, in the order of a layout, by their names in the file."""
LINES_ONLY = "fluent-high-contrast"
SIDE = 128
OTHERS = {"fxemoji/sunglasses"}
"""Not what its caption says: a face, and the style has sunglasses too."""

COLOURS = {name: HSV[name] for name in "red orange yellow green blue purple pink brown black".split()}
"""Hue in degrees, saturation and value (0 to 1) of each colour that things are turned to."""
NATURAL = 0.25  # between two colours that are called the same
Hue = tuple[float, float, float]

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as fractions of a frame or of the canvas."""
Square = tuple[float, float, float]
"""x and y of its centre and its side, likewise."""


class Pictures:
    """The pictures of a file of captioned emoji, by name."""

    def __init__(self, file: Path):
        rows = pq.read_table(file, columns=["image", "caption", "style", "name"]).to_pylist()
        self.names = [row["name"] for row in rows]
        self.captions = {row["name"]: row["caption"] for row in rows}
        self.styles = {row["name"]: row["style"] for row in rows}
        self._encoded = {row["name"]: row["image"] for row in rows}
        self._found = {
            (row["caption"], row["style"]): row["name"] for row in reversed(rows) if row["name"] not in OTHERS
        }
        self.box = lru_cache(None)(self._box)
        self.outline = lru_cache(None)(self._outline)
        self.hue = lru_cache(None)(self._hue)
        self.edge = lru_cache(None)(self._edge)
        self.image = lru_cache(3000)(self._image)

    def named(self, captions: tuple[str, ...], style: str) -> str | None:
        """The picture of the first of `captions` that `style` has."""
        return next((self._found[caption, style] for caption in captions if (caption, style) in self._found), None)

    def colour(self, name: str) -> str | None:
        """The colour that is nearest to most of the picture, if it is of one hue."""
        return min(COLOURS, key=lambda colour: _distance(found, COLOURS[colour])) if (found := self.hue(name)) else None

    def _image(self, name: str, colour: str | None = None) -> Image.Image:
        """The picture in RGBA, turned to `colour`."""
        image = Image.open(io.BytesIO(self._encoded[name])).convert("RGBA")
        if self.styles[name] == LINES_ONLY:
            return _filled(image)
        if colour is None or not (old := self.hue(name)):
            return image
        new = COLOURS[colour]
        natural = self.colour(name) == colour and _distance(old, new) < NATURAL
        return image if natural else _turned(image, old, new)

    def _outline(self, name: str) -> np.ndarray:
        """Where the picture is opaque, [side, side]."""
        return np.asarray(self.image(name))[..., 3] > 128

    def _box(self, name: str) -> Box:
        """The smallest box around all that is opaque in the frame."""
        outline = self.outline(name)
        across, down = np.flatnonzero(outline.any(0)), np.flatnonzero(outline.any(1))
        if not len(across):
            return 0.0, 0.0, 1.0, 1.0
        left, top, right, bottom = (float(edge) / SIDE for edge in (across[0], down[0], across[-1] + 1, down[-1] + 1))
        return left, top, right, bottom

    def _edge(self, name: str, colour: str | None = None) -> np.ndarray:
        """The mean RGB, 0 to 1, along the outline: what has to differ from the background."""
        outline = np.pad(self.outline(name), 2)
        within = outline[:-4, 2:-2] & outline[4:, 2:-2] & outline[2:-2, :-4] & outline[2:-2, 4:]
        rim = self.outline(name) & ~within
        return np.asarray(self.image(name, colour))[rim][:, :3].mean(0) / 255 if rim.any() else np.ones(3)

    def _hue(self, name: str) -> Hue | None:
        """Hue in degrees, saturation and value of the one hue of a picture, if it has one."""
        if self.styles[name] == LINES_ONLY:
            return None
        hue, saturation, value, opaque = _hsv(self.image(name))
        vivid = (opaque > 0.5) & (saturation > 0.28) & (value > 0.2)
        if vivid.sum() < 0.35 * (opaque > 0.5).sum():
            return None
        counts = np.bincount(np.round(hue[vivid]).astype(int) % 360, minlength=360)
        window = np.convolve(np.concatenate([counts[-20:], counts, counts[:20]]), np.ones(41), "valid")
        peak = float(window.argmax())
        near = vivid & (abs(_beyond(hue, peak)) <= 28)
        if near.sum() < 0.72 * vivid.sum():
            return None
        peak = (peak + float(_beyond(hue[near], peak).mean())) % 360
        return peak, float(np.median(saturation[near])), float(np.median(value[near]))


def _filled(image: Image.Image) -> Image.Image:
    """A picture of lines with white wherever lines enclose it, so that what is behind does not show through."""
    clear = np.pad(np.asarray(image)[..., 3] <= 200, 1, constant_values=True)
    around, before = np.zeros_like(clear), 0
    around[0] = True
    while (reached := around.sum()) != before:  # from the edge inwards, to every neighbour that is clear
        before = reached
        spread = around.copy()
        spread[1:] |= around[:-1]
        spread[:-1] |= around[1:]
        spread[:, 1:] |= around[:, :-1]
        spread[:, :-1] |= around[:, 1:]
        around = spread & clear
    white = np.where(around[1:-1, 1:-1, None], 0, 255).astype(np.uint8).repeat(4, -1)
    return Image.alpha_composite(Image.fromarray(white), image)


def _hsv(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, and saturation, value and opacity from 0 to 1."""
    hue, saturation, value = np.asarray(image.convert("RGB").convert("HSV"), np.float32).transpose(2, 0, 1)
    return hue * (360 / 255), saturation / 255, value / 255, np.asarray(image.getchannel("A"), np.float32) / 255


def _beyond(hue: np.ndarray, other: float) -> np.ndarray:
    """How many degrees hues are beyond another, from −180 to 180."""
    return (hue - other + 180) % 360 - 180


def _turned(image: Image.Image, old: Hue, new: Hue) -> Image.Image:
    """What is near the old hue, at the new one, as a memory of sprites turns them."""
    rgba = np.asarray(image).copy()
    colours = torch.from_numpy(rgba[..., :3]).permute(2, 0, 1) / 255
    turned = recolored(colours, torch.tensor(old), torch.tensor(new))
    rgba[..., :3] = (255 * turned).round().permute(1, 2, 0).numpy()
    return Image.fromarray(rgba)


def _distance(one: Hue, other: Hue) -> float:
    """How far two colours are from each other, in RGB of 0 to 1."""
    a, b = (np.array(hsv_to_rgb(hue / 360, saturation, value)) for hue, saturation, value in (one, other))
    return float(np.linalg.norm(a - b))
