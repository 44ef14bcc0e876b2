"""Layouts of pictures as a medium: what stands where, before it is drawn."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic
import torch
from torch import Tensor

from sfumato.arguments import listed, own, whole
from sfumato.errors import DataError, FormatError, InputError, NonFiniteError, ShapeError, nearest, quoted
from sfumato.files import parse_json, read_json
from sfumato.media.html import picture_html
from sfumato.media.image.boxes import Box, boxes_picture
from sfumato.media.image.color import parse_color
from sfumato.media.image.png import png
from sfumato.media.image.sheet import sheet
from sfumato.media.keep import keep
from sfumato.media.metadata import pick_metadata
from sfumato.media.protocol import Keep, Record, Size
from sfumato.media.record import KEY, SOURCE, parse_record, pick_format, record_text
from sfumato.wording import brief, count

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_THINGS, _MOST_STYLES = 1000, 1000
_GROUND = 7
"""The numbers of the ground beside its style."""
_MOST_BYTES = 2**20
"""The largest file of a layout."""
_EMPTY = (0.0, 0.0, -1.0, 0.0)
"""An empty place: a thing without a side."""
_LEAST = -0.95
"""The least side of a thing, a fortieth of the picture's: in a layout that was drawn, no number is −1 exactly."""
_WHITE = "white"


@dataclass(frozen=True)
class Layout:
    """What stands where in a picture: float [styles + 7, 1 + things], stored as float32; a size is (1 + things,).

    Column 0 is the ground: its style, 1 in the row of that of `styles` and −1 in the others; whether it is plain white,
    1 or −1; and its colours at the top and at the bottom, red, green and blue from −1 to 1. Each other column is a
    thing, in order of mention: x and y of its square's centre, from −1 at the left and the top to 1; the square's side,
    from −1 to 1 for 0 to the picture's side; its depth, from −1 behind to 1 in front. A thing without a side, −1,
    is an empty place.

    In a .json each has its name, so that a layout can be read, written and changed by hand.
    """

    styles: tuple[str, ...]
    things: int = 5
    noun: ClassVar[str] = "layout"
    plural: ClassVar[str] = "layouts"
    limit: ClassVar[float | None] = 1.0
    endings: ClassVar[tuple[str, ...]] = (".json",)
    columns: ClassVar[tuple[str, ...]] = ("layout",)
    formats: ClassVar[tuple[str, ...]] = ("json",)

    def __post_init__(self) -> None:
        whole("things", self.things, 1, _MOST_THINGS)
        styles = self.styles
        if not (isinstance(styles, tuple) and all(isinstance(one, str) for one in styles)):
            raise InputError(f"styles must be a tuple of texts, not {quoted(styles)}")
        if not 1 <= len(styles) <= _MOST_STYLES or len({*styles}) < len(styles) or "" in styles:
            raise InputError(f"styles must be from 1 to {_MOST_STYLES:,} different names, not {quoted(styles)}")

    @property
    def channels(self) -> int:
        return len(self.styles) + _GROUND

    def shape(self, size: Size) -> tuple[int, ...]:
        """[styles + 7, 1 + things]."""
        return (self.channels, *size)

    def check_size(self, size: Any) -> Size:
        """(1 + things,), which is this medium's; a `ShapeError` for any other."""
        if listed("size", own(size)) != [1 + self.things]:
            raise ShapeError(
                f"size must be ({1 + self.things},), the ground and {count(self.things, 'place')}, not {quoted(size)}"
            )
        return (1 + self.things,)

    def parse_size(self, text: str) -> Size:
        """The number of places, the ground's among them, that "6" spells."""
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InputError(f"a size reads PLACES, as in {1 + self.things}, not {quoted(text)}")
        return self.check_size((int(text),))

    def size_text(self, size: Size) -> str:
        """ "5 things"."""
        return count(size[0] - 1, "thing")

    def decode(self, data: bytes, name: str, size: Size | None = None) -> np.ndarray:
        """The layout in the bytes of a .json file as float32 [styles + 7, 1 + things]."""
        shown = brief(name)
        if len(data) > _MOST_BYTES:
            came = f"{len(data):,} bytes, where {_MOST_BYTES:,} is the most"
            raise DataError(f"{shown}: expected a layout, came {came}; replace it or take it out")
        try:
            table = parse_json(data, "it")
            return self.from_table({key: value for key, value in table.items() if key not in (KEY, SOURCE)})
        except (FormatError, InputError) as error:
            raise DataError(
                f"{shown}: expected a layout, came what is none: {error}; mend it or take it out"
            ) from error

    def floats(self, stored: Tensor) -> Tensor:
        """The numbers as they are, in float32."""
        return stored.float()

    # As a table -------------------------------------------------------------------------------------------------------

    def table(self, datum: Tensor) -> dict[str, Any]:
        """A layout as `write` names its parts: the style that it is nearest to; the background, "white" or its colours
        at the top and the bottom; of each thing its box, [left, top, right, bottom] from 0 to 1, and its depth, or None
        for an empty place."""
        x = self._checked(datum).double()
        ground, styles = x[:, 0], len(self.styles)
        colours = [_hex(ground[styles + 1 + i : styles + 4 + i]) for i in (0, 3)]
        things = [_thing(*place.tolist()) for place in x[:4, 1:].T]
        while things and things[-1] is None:
            things.pop()
        plain = bool(ground[styles] > 0)
        style = self.styles[int(ground[:styles].argmax())]
        return {"style": style, "background": _WHITE if plain else colours, "things": things}

    def from_table(self, table: dict[str, Any]) -> np.ndarray:
        """The layout that such a table says, float32; an `InputError` for what is wrong in it."""
        try:
            read = _Table.model_validate_json(json.dumps(table))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"'{'.'.join(map(str, first['loc']))}': {first['msg'].lower()}") from None
        if read.style not in self.styles:
            raise InputError(f"there is no style {quoted(read.style)}; {nearest(read.style, self.styles)}")
        if len(read.things) > self.things:
            raise InputError(f"there are {len(read.things):,} things, and room for {self.things}")
        numbers, styles = np.zeros(self.shape((1 + self.things,)), np.float32), len(self.styles)
        numbers[:4, 1:] = np.array(_EMPTY)[:, None]
        numbers[:styles, 0] = [1 if style == read.style else -1 for style in self.styles]
        numbers[styles, 0] = 1 if read.background == _WHITE else -1
        ends = (_WHITE, _WHITE) if read.background == _WHITE else read.background
        numbers[styles + 1 :, 0] = np.array([parse_color(end) for end in ends]).reshape(-1) / 127.5 - 1
        for place, thing in enumerate(read.things, 1):
            numbers[:4, place] = thing.numbers if thing else _EMPTY
        return numbers

    # Files and pictures -----------------------------------------------------------------------------------------------

    def write(
        self, datum: Tensor, record: Record, stem: Path, format: str | None = None, metadata: Keep = "full"
    ) -> Path:
        """Write a layout as JSON, as `table` has it, with its record and what made it under names of their own. A
        number that is not finite is a `NonFiniteError`."""
        ending, table = f".{pick_format(self, format)}", self.table(datum)
        held, source = pick_metadata(record, metadata)
        more: dict[str, Any] = {} if source is None else {SOURCE: source}
        if held is not None:
            more[KEY] = {"about": json.loads(record_text(held)), "sha256": _digest(table)}
        return keep(stem, ending, _spelled(table | more).encode())

    @staticmethod
    def read_record(path: Path) -> Record:
        """The record in a file that `write` wrote, unless the layout was edited since."""
        table = read_json(path)
        held, _ = table.pop(KEY, None), table.pop(SOURCE, None)
        if isinstance(held, dict) and isinstance(held.get("about"), dict) and held.get("sha256") == _digest(table):
            return held["about"]
        return parse_record(None, path)

    def preview(self, data: Tensor, columns: int | None = None, *, captions: Sequence[str] | None = None) -> "Image":
        """Layouts [n, styles + 7, 1 + things] on one sheet, each its boxes over its background, numbered in order of
        mention, the nearest on top."""
        return sheet([self._picture(one) for one in data], columns, gap=6, captions=captions)

    def html(self, datum: Tensor) -> str:
        """A layout as its boxes."""
        image = self._picture(datum)
        return picture_html(png(image), image.width, image.height)

    def _picture(self, datum: Tensor) -> "Image":
        table = self.table(datum)
        top, bottom = (_WHITE, _WHITE) if table["background"] == _WHITE else table["background"]
        known = [(thing["depth"], number, thing["box"]) for number, thing in enumerate(table["things"]) if thing]
        boxes = [Box(box, str(number + 1), number) for _, number, box in sorted(known)]
        return boxes_picture(parse_color(top), parse_color(bottom), boxes, table["style"])

    def _checked(self, datum: Tensor) -> Tensor:
        """The layout in float32; a `ShapeError` or a `NonFiniteError` if it is none."""
        wanted = self.shape((1 + self.things,))
        if datum.shape != wanted or not datum.is_floating_point():
            raise ShapeError(f"a layout is {list(wanted)} of real numbers, not {list(datum.shape)} of {datum.dtype}")
        if not bool((datum := datum.detach().to("cpu", torch.float32)).isfinite().all()):
            raise NonFiniteError("a layout holds a number that is not finite: draw it in float32, or mend what gave it")
        return datum


_STRICT = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_Text = Annotated[str, pydantic.Field(max_length=100)]


class _Thing(pydantic.BaseModel):
    """A thing in a file."""

    model_config = _STRICT
    box: tuple[float, float, float, float]
    depth: float = 0.0

    @property
    def numbers(self) -> tuple[float, ...]:
        """Its x, y, side and depth, as a layout has them."""
        left, top, right, bottom = self.box
        side = right - left
        if side < 0 or abs(side - (bottom - top)) > 1e-3:
            raise InputError(f"a box is a square, [left, top, right, bottom] from 0 to 1, not {[*self.box]}")
        return left + right - 1, top + bottom - 1, 2 * side - 1, self.depth


class _Table(pydantic.BaseModel):
    """What is in a file, but for its record."""

    model_config = _STRICT
    style: _Text
    background: Literal["white"] | tuple[_Text, _Text] = "white"
    things: Annotated[tuple[_Thing | None, ...], pydantic.Field(max_length=_MOST_THINGS)] = ()


def _thing(x: float, y: float, side: float, depth: float) -> dict[str, Any] | None:
    """A thing as a file has it, None for an empty place."""
    if side < _LEAST:
        return None
    half = (1 + side) / 4
    box = ((1 + x) / 2 - half, (1 + y) / 2 - half, (1 + x) / 2 + half, (1 + y) / 2 + half)
    return {"box": [round(edge, 4) + 0.0 for edge in box], "depth": round(depth, 4) + 0.0}


def _hex(colour: Tensor) -> str:
    """A colour from −1 to 1 as "#rrggbb"."""
    red, green, blue = ((colour.clamp(-1, 1) + 1) * 127.5).round().int().tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _spelled(table: dict[str, Any]) -> str:
    """A table as JSON for people: a line each key, and each thing."""
    lines = [f"  {json.dumps(key)}: {_value(value)}" for key, value in table.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _value(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return "[\n" + ",\n".join(f"    {_value(one)}" for one in value) + "\n  ]"
    return json.dumps(value, ensure_ascii=False)


def _digest(table: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()
