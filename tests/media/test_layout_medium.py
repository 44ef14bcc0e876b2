"""Layouts as files that people can read and change, as stored numbers and as pictures of boxes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from media.records import RECORDS
from sfumato.errors import DataError, FormatError, InputError, NonFiniteError, ShapeError
from sfumato.media import Layout
from sfumato.system.samples import Samples, read_record

MEDIUM = Layout(("3D style", "flat style"), things=3)
TABLE: dict[str, Any] = {
    "style": "flat style",
    "background": ["#ff0000", "#0033ff"],
    "things": [{"box": [0.25, 0.5, 0.75, 1.0], "depth": -0.5}, None, {"box": [0.0, 0.0, 0.1, 0.1], "depth": 0.25}],
}


def numbers() -> Tensor:
    """The layout of `TABLE`."""
    x = torch.zeros(9, 4)
    x[:, 0] = torch.tensor([-1.0, 1, -1, 1, -1, -1, -1, -0.6, 1])
    x[:4, 1], x[:4, 3] = torch.tensor([0.0, 0.5, 0, -0.5]), torch.tensor([-0.9, -0.9, -0.8, 0.25])
    x[2, 2] = -1  # a place without a thing
    return x


def test_a_layout_is_a_table_and_a_table_a_layout() -> None:
    assert MEDIUM.table(numbers()) == TABLE
    assert torch.allclose(torch.from_numpy(MEDIUM.from_table(TABLE)), numbers(), atol=1e-6)
    assert MEDIUM.from_table(TABLE).dtype == np.float32


def test_a_layout_that_was_drawn_is_the_table_that_it_is_near_to() -> None:
    x = numbers() + 0.03 * (torch.rand(9, 4, generator=torch.Generator().manual_seed(0)) - 0.5)
    found = MEDIUM.table(x)
    assert found["style"] == "flat style" and found["things"][1] is None and len(found["things"]) == 3
    assert found["things"][0]["box"] == pytest.approx(TABLE["things"][0]["box"], abs=0.02)
    x[2, 3] = -1
    assert MEDIUM.table(x)["things"] == found["things"][:1], "places after the last thing are left out"
    x[2, 0] = 0.7
    assert MEDIUM.table(x)["background"] == "white"


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_layout_and_its_record_come_back(record: dict[str, Any], tmp_path: Path) -> None:
    path = MEDIUM.write(numbers(), record, tmp_path / "a")
    assert path.name == "a.json" and read_record(path) == record
    assert torch.allclose(torch.from_numpy(MEDIUM.decode(path.read_bytes(), "a", (4,))), numbers(), atol=1e-6)


def test_a_file_is_one_that_people_can_read(tmp_path: Path) -> None:
    path = MEDIUM.write(numbers(), {}, tmp_path / "a", metadata="none")
    assert path.read_text() == (
        '{\n  "style": "flat style",\n  "background": ["#ff0000", "#0033ff"],\n  "things": [\n'
        '    {"box": [0.25, 0.5, 0.75, 1.0], "depth": -0.5},\n    null,\n'
        '    {"box": [0.0, 0.0, 0.1, 0.1], "depth": 0.25}\n  ]\n}\n'
    )


def test_a_layout_that_was_changed_is_read_and_is_no_longer_of_its_record(tmp_path: Path) -> None:
    path = MEDIUM.write(numbers(), {"seed": 3}, tmp_path / "a")
    path.write_text(path.read_text().replace('["#ff0000", "#0033ff"]', '["red", "skyblue"]'))
    assert MEDIUM.decode(path.read_bytes(), "a")[3:6, 0].tolist() == [1, -1, -1]
    with pytest.raises(FormatError, match="or was edited since$"):
        read_record(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"style": "flat"}, "there is no style 'flat'; "),
        ({"background": ["red", "skyish"]}, "'skyish' is not the name of a colour"),
        ({"background": "red"}, "'background.literal"),
        ({"things": [{"box": [0, 0, 1, 0.5]}]}, r"a box is a square, .* not \[0.0, 0.0, 1.0, 0.5\]"),
        ({"things": [{"box": [0, 0, 1]}]}, "'things.0.box.3': field required"),
        ({"things": [{"box": [0, 0, 1, float("inf")]}]}, "input should be a finite number"),
        ({"things": [{}]}, "'things.0.box': field required"),
        ({"things": [None] * 4}, "there are 4 things, and room for 3"),
        ({"thing": []}, "'thing': extra inputs are not permitted"),
    ],
    ids=str,
)
def test_what_is_no_layout_is_an_error_that_says_what_is_wrong(change: dict[str, Any], text: str) -> None:
    data = json.dumps(TABLE | change).encode()
    with pytest.raises(DataError, match=rf"^a.json: expected a layout, .*{text}.*; mend it or take it out$"):
        MEDIUM.decode(data, "a.json")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"[]", b"{}", b'{"style": 1}', b"{" * 10**5, b" " * 2**21], ids=range(7)
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"^a.json: expected a layout, came"):
        MEDIUM.decode(data, "a.json")


def test_a_file_of_anothers_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    with pytest.raises(FormatError, match="carries no record of Sfumato's"):
        read_record(tmp_path / "a.json")


def test_sizes_are_the_places() -> None:
    assert MEDIUM.shape(MEDIUM.check_size([np.int64(4)])) == (9, 4) and MEDIUM.parse_size("4") == (4,)
    assert MEDIUM.channels == 9 and MEDIUM.size_text((4,)) == "3 things"
    with pytest.raises(ShapeError, match=r"size must be \(4,\), the ground and 3 places, not \(5,\)"):
        MEDIUM.check_size((5,))
    with pytest.raises(InputError, match="a size reads PLACES, as in 4, not 'x'"):
        MEDIUM.parse_size("x")


@pytest.mark.parametrize(
    ("styles", "things", "text"),
    [
        ((), 5, "styles must be from 1 to 1,000 different names"),
        (("a", "a"), 5, "different names"),
        (("",), 5, "different names"),
        ("flat", 5, "styles must be a tuple of texts, not 'flat'"),
        (("flat",), 0, "things must be a whole number from 1"),
    ],
)
def test_what_can_be_no_layout_is_refused(styles: Any, things: int, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Layout(styles, things)


def test_numbers_that_are_no_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"a layout is \[9, 4\] of real numbers, not \[9, 5\] of torch.float32"):
        MEDIUM.write(torch.zeros(9, 5), {}, tmp_path / "a")
    x = numbers()
    x[0, 0] = torch.nan
    for attempt in (lambda: MEDIUM.write(x, {}, tmp_path / "a"), lambda: MEDIUM.preview(x[None])):
        with pytest.raises(NonFiniteError, match="a layout holds a number that is not finite"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_a_picture_shows_the_boxes_and_the_nearest_on_top() -> None:
    x = torch.zeros(2, 9, 4)
    x[:, :3, 0], x[:, 3:, 0] = torch.tensor([1.0, -1, -1]), -1  # black
    x[:, :4, 1], x[:, :4, 2] = torch.tensor([0.0, 0, 0.2, 0.5]), torch.tensor([0.1, 0.1, 0.2, -0.5])
    x[1, 3, :3] *= -1
    x[1, 3, 0] = x[0, 3, 0]
    near, far = (np.asarray(MEDIUM.preview(one[None])).astype(int) for one in x)
    page = np.asarray(MEDIUM.preview(x, columns=1, captions=["a", "b"]))
    assert page.shape[0] > 2 * near.shape[0] - 20 and near.shape == far.shape
    assert near[:20].max() == 255 and (near[30:150, 30:150] > 20).any(), "boxes are seen on black"
    differ = np.abs(near - far).sum(-1) > 30
    assert differ.any() and not differ[:15].any(), "which is in front is seen where they overlap"


def test_a_notebook_shows_pictures(tmp_path: Path) -> None:
    drawn = Samples(torch.stack([numbers()] * 2), MEDIUM, ({"seed": 0}, {"seed": 1}))
    assert drawn._repr_html_().count("<img") == 2 and repr(drawn) == "Samples(2 layouts, [9, 4])"
    assert [path.name for path in drawn.save(tmp_path)] == ["0.json", "1.json"]
