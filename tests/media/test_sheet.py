"""Words on sheets: what stands above which pictures, and that no words are an error."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import media
from sfumato.errors import InputError
from sfumato.media.image import sheet
from sfumato.media.image.words import broken, fitted, font, plain
from sfumato.system.samples import Samples


def tiles(n: int, width: int = 96, height: int = 96, mode: str = "RGB") -> list[Image.Image]:
    return [Image.new(mode, (width, height), "black") for _ in range(n)]


def words_above(page: Image.Image, width: int, gap: int = 2) -> list[list[bool]]:
    """Of each row of black tiles, whether there is ink in the room above each of them."""
    pixels = np.asarray(page.convert("L")).astype(int)
    tile_rows = (pixels[:, gap : gap + width] == 0).all(1)
    starts = [y for y in range(1, len(pixels)) if tile_rows[y] and not tile_rows[y - 1]]
    ends = [0, *(y for y in range(1, len(pixels)) if tile_rows[y - 1] and not tile_rows[y])]
    found = []
    for end, start in zip(ends, starts, strict=False):
        black = pixels[start] == 0
        lefts = [x for x in range(page.width) if black[x] and not black[x - 1]]
        found.append([bool((pixels[end:start, x : x + width] < 200).any()) for x in lefts])
    return found


def test_without_words_a_sheet_is_as_it_was() -> None:
    plain_sheet = sheet(tiles(5))
    assert plain_sheet.size == (3 * 98 + 2, 2 * 98 + 2)
    assert sheet(tiles(5), captions=[""] * 5).tobytes() == plain_sheet.tobytes()


def test_a_caption_stands_once_above_neighbours_that_share_it() -> None:
    page = sheet(tiles(6), 3, captions=["cat", "cat", "dog", "cat", "", "dog"])
    assert words_above(page, 96) == [[True, False, True], [True, False, True]]


@pytest.mark.parametrize(
    ("groups", "each", "side", "columns"),
    [
        (10, 6, 96, 12),  # ten classes: two a row
        (12, 2, 128, 8),  # captions: four a row, in three full rows
        (64, 1, 96, 11),
        (1, 8, 96, 8),
        (12, 2, 512, 4),  # as wide as high
        (2, 8, 1100, 4),  # a group that is wider than the screen is broken evenly
        (3, 1, 2000, 2),
    ],
)
def test_groups_of_one_caption_stay_whole(groups: int, each: int, side: int, columns: int) -> None:
    captions = [str(i) for i in range(groups) for _ in range(each)]
    page = sheet(tiles(groups * each, side, side, "L"), captions=captions)
    a_row = min(math.ceil(columns / each), groups)
    assert page.width == columns * (side + 2) + 2 + 8 * (a_row - 1), "and 8 pixels apart"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "caption",
    ["😀 猫", "a word " * 5000, "x" * 10_000, "two\nlines\0\x1b[31m", "\ud800", "\u202eright to left"],
)
def test_any_caption_can_be_shown(caption: str, mode: str) -> None:
    page = sheet(tiles(2, 16, 16, mode), captions=[caption, caption])
    assert page.mode == mode and page.height < 16 + 4 + 4 * 17
    assert words_above(page, 16)[0][0]


def test_each_picture_wants_a_caption() -> None:
    with pytest.raises(InputError, match=r"each picture wants a caption: 2 pictures came with 1$"):
        sheet(tiles(2), captions=["cat"])


def test_accents_are_taken_off_and_what_does_not_print_is_spelled() -> None:
    assert plain("Zürich,\n  à\tla  façade") == "Zurich, a la facade"
    assert plain("\0") == "\\x00"


@pytest.mark.parametrize("room", [1, 20, 60, 200])
def test_words_fit_the_room_there_is(room: int) -> None:
    own, text = font(13), "a rocket, flat style, and an incomprehensibility"
    lines = broken(text, own, room)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(own.getlength(line) <= room or len(line) == 1 for line in lines)
    cut = fitted(text, own, room, 2)
    assert len(cut) <= 2 and (cut == lines or cut[-1].endswith("…"))


@pytest.mark.parametrize("medium", [media.Image(1), media.Audio(1000), media.Embedding(16)])
def test_samples_of_any_medium_show_their_prompts(medium: media.Medium) -> None:
    shape = {"picture": (1, 8, 8), "sound": (1, 500), "embedding": (16,)}[medium.noun]
    records = tuple({"prompt": prompt, "seed": 0} for prompt in ("cat", "cat", None, "dog"))
    drawn = Samples(torch.zeros(4, *shape), medium, records)
    shown, plain_sheet = drawn.preview(columns=2, captions=True), drawn.preview(columns=2)
    assert shown.height > plain_sheet.height
    if medium.noun == "picture":
        assert shown.width == 2 * 98 + 2 + 8, "small pictures are enlarged, so that there is room for words"
