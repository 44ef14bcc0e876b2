"""Scenes of emoji: what captions say is where the layout has it and what the picture shows; held-out pairs stay out."""

import io
import json
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sfumato.condition.phrases import indivisible, phrases

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
import pyarrow  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples"
SHAPES = {
    "red apple": "red", "banana": "yellow", "rocket": "grey", "red heart": "red", "bus": "orange", "owl": "brown",
    "cat face": "orange", "dog face": "brown", "top hat": "black", "crown": "gold", "sunglasses": "black",
    "scarf": "red", "star": "gold", "castle": "grey", "cat with tears of joy": "orange", "balloon": "red",
}  # fmt: skip
SEED = 3


@pytest.fixture(scope="module")
def scenes() -> Iterator[Any]:
    """The module, with what stands beside it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import emoji_scenes

        yield emoji_scenes
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as emoji_data.py writes it: a disc for each caption, in three styles."""
    rows = [
        {"image": disc(colour), "caption": caption, "style": style, "name": f"{style}/{caption}"}
        for caption, colour in SHAPES.items()
        for style in ("fluent-flat", "noto", "fluent-high-contrast")
    ]
    path = tmp_path_factory.mktemp("emoji") / "train.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def things(scenes: Any, file: Path) -> Any:
    return scenes.Things(file)


@pytest.fixture(scope="module")
def drawn(scenes: Any, things: Any) -> list[Any]:
    return [scenes.scene(things, SEED, number) for number in range(1500)]


def disc(colour: str) -> bytes:
    image = Image.new("RGBA", (128, 128))
    ImageDraw.Draw(image).ellipse((14, 14, 113, 113), fill=colour)
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return packed.getvalue()


def test_a_scene_depends_on_its_seed_and_number_alone(scenes: Any, file: Path, drawn: list[Any]) -> None:
    fresh = scenes.Things(file)
    assert [scenes.scene(fresh, SEED, number) for number in (1200, 7, 40)] == [drawn[n] for n in (1200, 7, 40)]
    assert scenes.scene(fresh, SEED + 1, 7) != drawn[7]
    assert (scenes.picture(scenes.scene(fresh, SEED, 7)) == scenes.picture(drawn[7])).all()


def test_every_kind_is_drawn(scenes: Any, drawn: list[Any]) -> None:
    assert {scene.kind for scene in drawn} == {*scenes.KINDS, *scenes.WORDINGS}


def test_captions_are_read_back_into_the_things_that_they_name(things: Any, drawn: list[Any]) -> None:
    styles = ("3D style", "flat style", "black and white", "Firefox style", "Noto style")
    names = indivisible(things.pictures.captions.values())
    wrong = [one.caption for one in drawn if phrases(one.caption, names, styles).things != one.phrases]
    assert wrong == []


def test_things_stand_as_the_relation_says(drawn: list[Any]) -> None:
    found = set()
    for scene in drawn:
        for one, relation, other in scene.facts.get("relations", ()):
            a, b = (scene.facts["things"][place]["box"] for place in (one, other))
            found.add(relation)
            assert relation != "left of" or a[2] < b[0] + 0.04
            assert relation != "right of" or b[2] < a[0] + 0.04
            assert relation != "above" or a[3] < b[1] + 0.04
            assert relation != "below" or b[3] < a[1] + 0.04
            behind = relation == "behind"
            assert relation not in ("behind", "in front of") or (
                behind == (scene.placed[one].depth < scene.placed[other].depth)
            )
    assert len(found) == 8


def test_wordings_change_no_other_scene(scenes: Any, things: Any, drawn: list[Any]) -> None:
    usual = [scenes.scene(things, SEED, number, [*scenes.KINDS]) for number in range(40)]
    assert all(one == same or one.kind in scenes.WORDINGS for one, same in zip(drawn[:40], usual, strict=True))


def test_a_thing_in_two_colours_and_numbers_of_two_things_are_named_once(drawn: list[Any]) -> None:
    shared = [scene for scene in drawn if scene.kind == "shared"]
    assert shared and all(len({one.colour for one in scene.placed}) == len(scene.phrases) == 2 for scene in shared)
    numbers = [scene for scene in drawn if scene.kind == "numbers"]
    assert numbers and all(3 <= len(scene.placed) <= 5 and len({*scene.phrases}) == 2 for scene in numbers)


def test_a_number_of_things_do_not_overlap(drawn: list[Any]) -> None:
    numbers = [scene for scene in drawn if scene.kind == "number"]
    assert {scene.facts["number"] for scene in numbers} == {2, 3, 4, 5}
    for scene in numbers:
        boxes = [thing["box"] for thing in scene.facts["things"]]
        assert len(boxes) == scene.facts["number"] == len(scene.phrases)
        for a, b in combinations(boxes, 2):
            across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            assert min(across, down) < 0.06


def test_boxes_are_where_the_picture_has_the_thing(scenes: Any, drawn: list[Any]) -> None:
    scene = next(one for one in drawn if one.kind == "one" and one.ground.plain and one.style != "black and white")
    seen = (scenes.picture(scene) < 250).any(-1)
    across, down = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
    measured = np.array([across[0], down[0], across[-1] + 1, down[-1] + 1]) / 128
    assert np.abs(measured - scene.facts["things"][0]["box"]).max() <= 1 / 64


def test_a_thing_has_the_colour_that_is_asked_for(scenes: Any, things: Any) -> None:
    names = {"red": 0, "yellow": 50, "green": 128, "blue": 213}
    for name, hue in names.items():
        image = things.pictures.image("noto/red apple", name)
        assert abs(float(np.asarray(image.convert("RGB").convert("HSV"))[64, 64, 0]) * 360 / 255 - hue) < 12
        assert (
            np.asarray(image)[..., 3].tolist() == np.asarray(things.pictures.image("noto/red apple"))[..., 3].tolist()
        )
    assert things.pictures.hue("noto/rocket") is None and things.pictures.hue("fluent-high-contrast/red apple") is None


def test_a_picture_of_one_hue_has_that_hue(things: Any) -> None:
    hue, saturation, value = things.pictures.hue("noto/red apple")
    assert min(hue, 360 - hue) < 2 and saturation > 0.98 and value > 0.98
    assert things.pictures.colour("noto/red apple") == "red"


def test_a_background_differs_from_the_edges_of_things(things: Any, drawn: list[Any]) -> None:
    for scene in drawn:
        for thing in scene.placed if not scene.ground.plain else ():
            edge = things.pictures.edge(thing.picture, thing.colour)
            for shade in (scene.ground.top, scene.ground.bottom):
                assert np.linalg.norm(np.array(shade) / 255 - edge) > 0.18


def test_a_smaller_picture_is_the_usual_one_made_smaller(scenes: Any, drawn: list[Any]) -> None:
    usual = scenes.picture(drawn[3]).astype(int)
    halved = usual.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(scenes.picture(drawn[3], 64) - halved).max() <= 0.5


def test_with_is_for_what_is_worn(drawn: list[Any]) -> None:
    apart = [scene for scene in drawn if scene.kind in ("two", "two colours") and not scene.facts["ground"]]
    dressed = [scene for scene in apart if any(pair[0] == "worn" for pair in scene.pairs)]
    assert dressed and not any(" with " in scene.caption for scene in dressed)
    assert any(" with " in scene.caption for scene in apart)


def test_hats_are_on_the_head_and_glasses_at_the_eyes(drawn: list[Any]) -> None:
    for scene in drawn:
        for face, worn in scene.facts.get("wears", ()):
            (left, top, right, bottom), box = (scene.facts["things"][place]["box"] for place in (face, worn))
            middle, height = (box[1] + box[3]) / 2, bottom - top
            word = scene.facts["things"][worn]["word"]
            assert left < (box[0] + box[2]) / 2 < right
            assert (scene.placed[worn].depth < scene.placed[face].depth) == (word == "scarf")
            assert word not in ("top hat", "crown") or box[3] < top + 0.3 * height
            assert word != "sunglasses" or top + 0.15 * height < middle < top + 0.7 * height


def test_the_layout_says_style_ground_and_squares(drawn: list[Any]) -> None:
    scene = next(one for one in drawn if one.kind == "two" and not one.ground.plain)
    layout = scene.layout()
    assert layout.shape == (12, 6) and layout.dtype == np.float32
    assert sorted(layout[:5, 0]) == [-1, -1, -1, -1, 1] and layout[5, 0] == -1
    assert layout[6:, 0] == pytest.approx(np.array([*scene.ground.top, *scene.ground.bottom]) / 127.5 - 1)
    one = scene.placed[1]
    assert layout[:4, 2] == pytest.approx([2 * one.x - 1, 2 * one.y - 1, 2 * one.side - 1, one.depth])
    assert not layout[4:, 1:].any()
    assert (layout[:4, 3:].T == [0, 0, -1, 0]).all(), "a place without a thing has no side"


def test_scenes_never_have_a_held_out_pair_unless_asked(scenes: Any, things: Any, drawn: list[Any]) -> None:
    assert ("worn", "cat", "top hat") in things.held
    assert not any(scene.pairs & things.held for scene in drawn)
    held = [scenes.scene(things, SEED, number, ["worn", "number", "two"], held_out=True) for number in range(60)]
    assert all(scene.pairs & things.held for scene in held)


def test_pairs_are_all_that_is_together_in_a_scene(drawn: list[Any]) -> None:
    for scene in drawn:
        words = {thing["word"] for thing in scene.facts["things"]} if scene.kind != "plain" else set()
        together = {frozenset(pair[1:]) for pair in scene.pairs if pair[0] in ("things", "worn")}
        assert together == {frozenset(two) for two in combinations(words, 2)}


def test_a_fixed_fifth_of_each_kind_of_pair_is_listed(things: Any, scenes: Any) -> None:
    from scenes import held_out  # pyright: ignore[reportMissingImports]

    assert held_out.chosen() == held_out.read() == things.held
    listed = json.loads((EXAMPLES / "emoji_held_out.json").read_text(encoding="utf-8"))
    assert set(listed) == {"worn", "things", "colours", "numbers"}
    every = list(held_out.every())
    for kind in listed:
        share = sum(pair[0] == kind for pair in things.held) / sum(pair[0] == kind for pair in every)
        assert 0.17 < share < 0.23


def test_a_file_of_scenes_is_what_its_halves_are(scenes: Any, things: Any, tmp_path: Path) -> None:
    def written(name: str, numbers: range, images: bool = True) -> Any:
        scenes.write(tmp_path / name, (scenes.scene(things, 0, number) for number in numbers), images)
        return parquet.read_table(tmp_path / name)

    whole = written("whole.parquet", range(8))
    assert whole.column_names == ["image", "text", "layout", "kind"] and whole.num_rows == 8
    assert pyarrow.concat_tables([written("a.parquet", range(4)), written("b.parquet", range(4, 8))]) == whole
    row, scene = whole.to_pylist()[5], scenes.scene(things, 0, 5)
    assert row["text"] == [scene.caption] and row["kind"] == scene.kind
    assert np.float32(row["layout"]).reshape(12, 6).tolist() == scene.layout().tolist()
    assert (np.asarray(Image.open(io.BytesIO(row["image"]))) == scenes.picture(scene)).all()
    assert "image" not in written("small.parquet", range(4), images=False).column_names


def test_the_command_writes_a_file_and_a_sheet(
    scenes: Any, things: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, page = tmp_path / "scenes.parquet", tmp_path / "sheet.png"
    given = [
        "--out",
        str(out),
        "--sheet",
        str(page),
        "--count",
        "5",
        "--start",
        "20",
        "--layouts-only",
        "--kinds",
        "worn",
    ]
    monkeypatch.setattr(sys, "argv", ["emoji_scenes.py", str(file), *given])
    scenes.main()
    rows = parquet.read_table(out).to_pylist()
    assert [row["text"] for row in rows] == [[scenes.scene(things, 0, n, ["worn"]).caption] for n in range(20, 25)]
    with Image.open(page) as drawn:
        assert drawn.width > 8 * 128


def test_a_sheet_has_a_block_for_each_of_its_words(scenes: Any) -> None:
    red, blue = (Image.new("RGB", (100, 50), colour) for colour in ("red", "blue"))
    page = scenes.sheet([red, blue] * 3, ["one", "two", "a third that is longer " * 9], columns=2, letters=10, lines=2)
    assert page.size == (2 * (202 + 12) + 12, 2 * (50 + 2 * 12 + 12) + 12)
    assert [page.getpixel(at) for at in ((12, 12), (114, 12), (226, 12), (12, 98))] == [
        (255, 0, 0), (0, 0, 255), (255, 0, 0), (255, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "--out"),
        (["--out", "x", "--count", "0"], "at least 1, not 0"),
        (["--out", "x", "--held-out", "--kinds", "plain"], "no pair is held out of the kind plain"),
    ],
)
def test_bad_options_are_refused_in_a_line(
    scenes: Any, given: list[str], problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["emoji_scenes.py", "train.parquet", *given])
    with pytest.raises(SystemExit):
        scenes.main()
    assert problem in capsys.readouterr().err.splitlines()[-1]


def test_what_lines_enclose_is_white_and_what_is_around_them_is_clear(scenes: Any) -> None:
    from scenes import pictures  # pyright: ignore[reportMissingImports]

    ring = Image.new("RGBA", (128, 128))
    ImageDraw.Draw(ring).ellipse((20, 20, 100, 100), outline="black", width=6)
    filled = np.asarray(pictures._filled(ring))
    assert filled[60, 60].tolist() == [255, 255, 255, 255]
    assert filled[4, 4, 3] == filled[22, 22, 3] == 0
    assert filled[60, 22].tolist() == [0, 0, 0, 255]
