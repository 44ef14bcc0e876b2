"""Composition: what counts as drawn as asked, which prompts are asked, and that a killed run goes on."""

import io
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from PIL import Image, ImageDraw

from sfumato.errors import FormatError, InputError

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
import pyarrow  # noqa: E402

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CAPTIONS = (
    "red apple",
    "banana",
    "rocket",
    "bus",
    "owl",
    "cat face",
    "dog face",
    "top hat",
    "crown",
    "star",
    "balloon",
)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import asked
    import cells
    import composition
    import reader
    import readings
    import sources

    return SimpleNamespace(
        asked=asked, cells=cells, composition=composition, reader=reader, readings=readings, sources=sources
    )


@pytest.fixture
def asked(modules: SimpleNamespace) -> ModuleType:
    return modules.asked


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files as emoji_data.py writes them: a disc for each caption, in two styles."""
    for name, styles in {"train": ("fluent-flat", "noto"), "held_out_pairs": ("fluent-3d",)}.items():
        rows = [
            {"image": disc(), "caption": caption, "style": style, "name": f"{style}/{caption}"}
            for caption in CAPTIONS
            for style in styles
        ]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    return tmp_path


def disc() -> bytes:
    image, stream = Image.new("RGBA", (128, 128)), io.BytesIO()
    ImageDraw.Draw(image).ellipse((14, 14, 114, 114), "red")
    image.save(stream, "PNG")
    return stream.getvalue()


# What counts ----------------------------------------------------------------------------------------------------------


def thing(modules: SimpleNamespace, word: str, x: float = 0.0, y: float = 0.0, colour: str = "red", side: float = 0.4):
    return modules.reader.Thing(word, colour, "3D style", False, x, y, side, False)


def wanted(asked: ModuleType, *words: str, colours: tuple[str | None, ...] = (None,) * 5):
    things = (asked.Wanted(frozenset({word}), colour) for word, colour in zip(words, colours, strict=False))
    return asked.Asked(tuple(things))


def test_every_word_counts_as_often_as_it_is_asked_for(modules: SimpleNamespace, asked: ModuleType) -> None:
    cat, dog, owl = (thing(modules, word) for word in ("cat", "dog", "owl"))
    assert asked.shown(wanted(asked, "cat", "dog"), [dog, cat])
    assert asked.shown(wanted(asked, "cat", "dog"), [dog, cat, owl]), "a word that nobody asked for"
    assert not asked.shown(wanted(asked, "cat", "dog"), [cat])
    assert not asked.shown(wanted(asked, "cat", "dog"), [cat, cat])
    for number in range(5):
        assert asked.shown(wanted(asked, *["cat"] * 3), [cat] * number) == (number == 3)
    assert not asked.shown(wanted(asked, "cat"), [])


def test_each_thing_has_its_own_colour(modules: SimpleNamespace, asked: ModuleType) -> None:
    both = wanted(asked, "cat", "dog", colours=("blue", "red"))
    assert asked.shown(both, [thing(modules, "dog"), thing(modules, "cat", colour="blue")])
    assert not asked.shown(both, [thing(modules, "dog", colour="blue"), thing(modules, "cat")]), "bound the other way"
    twice = wanted(asked, "cat", "cat", colours=("blue", "red"))
    assert asked.shown(twice, [thing(modules, "cat"), thing(modules, "cat", colour="blue")])
    assert not asked.shown(twice, [thing(modules, "cat"), thing(modules, "cat")])


@pytest.mark.parametrize(
    ("kind", "x", "y"),
    [("left of", -1, 0), ("right of", 1, 0), ("above", 0, -1), ("below", 0, 1)],
)
def test_a_relation_is_one_of_centres(modules: SimpleNamespace, asked: ModuleType, kind: str, x: int, y: int) -> None:
    other = thing(modules, "dog")
    for across in (-1, 0, 1):
        for down in (-1, 0, 1):
            one = thing(modules, "cat", 0.3 * across, 0.3 * down)
            assert asked.holds(kind, one, other) == (across * x + down * y == 1)
            assert asked.holds("next to", one, other) == (across != 0)
    assert not asked.holds(kind, thing(modules, "cat", 0.08 * x, 0.08 * y), other), "hardly apart"


def test_what_is_on_a_thing_is_above_it_and_touches_it(modules: SimpleNamespace, asked: ModuleType) -> None:
    for down, holds in ((-0.7, True), (-0.9, True), (-1.0, False), (0.7, False)):
        assert asked.holds("on", thing(modules, "cat", y=down), thing(modules, "house")) == holds


def test_what_is_behind_is_covered(modules: SimpleNamespace, asked: ModuleType) -> None:
    front, behind = thing(modules, "cat", 0.1), replace(thing(modules, "house"), covered=True)
    assert asked.holds("in front of", front, behind)
    assert asked.holds("behind", behind, front)
    assert not asked.holds("behind", front, behind)
    assert not asked.holds("in front of", thing(modules, "cat", 0.9), behind), "beside it"


def test_what_is_worn_sits_where_it_belongs_on_a_face_of_any_size(modules: SimpleNamespace, asked: ModuleType) -> None:
    worn = asked.Worn(0, 1, 0.1, -0.5)
    for side in (0.2, 0.5, 0.9):
        face = thing(modules, "cat", 0.3, -0.2, side=side)
        for off, sits in ((0.0, True), (0.29, True), (0.31, False)):
            hat = thing(modules, "top hat", 0.3 + 2 * side * (0.1 + off), -0.2 - 2 * side * 0.5, side=side / 2)
            assert asked.sits(worn, face, hat) == sits
            both = replace(wanted(asked, "cat", "top hat"), wears=(worn,))
            assert asked.shown(both, [hat, face]) == sits


def test_the_interval_of_wilson(asked: ModuleType) -> None:
    z2 = 1.959964**2
    assert asked.wilson(0, 10) == pytest.approx((0, z2 / (10 + z2)))
    assert asked.wilson(10, 10) == pytest.approx((10 / (10 + z2), 1))
    half = math.sqrt(z2 / (4 * (10 + z2)))
    assert asked.wilson(5, 10) == pytest.approx((0.5 - half, 0.5 + half))
    assert asked.wilson(0, 0) == (0, 1)


# Prompts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["two things", "number", "colour", "place", "worn"])
def test_prompts_of_held_out_pairs_have_one_that_is_listed_and_the_others_none(
    modules: SimpleNamespace, data: Path, cell: str
) -> None:
    held = modules.cells.things(data / "train.parquet").held
    for split in modules.cells.SPLITS:
        for one in modules.cells.prompts(data, cell, split, 12):
            assert bool(one.scene.pairs & held) == (split == modules.cells.HELD_OUT)


def test_what_a_real_scene_shows_is_what_its_prompt_asks_for(modules: SimpleNamespace, data: Path) -> None:
    """Read without a fault, every real scene counts; and none counts as one of other things."""
    seen = {cell: modules.cells.prompts(data, cell, "seen", 8) for cell in modules.cells.CELLS}
    for own in seen.values():
        for one in own:
            assert modules.asked.shown(one.asked, truly(modules, one.scene)), one.text
    for one, other in combinations((prompt for own in seen.values() for prompt in own), 2):
        first, second = (frozenset().union(*(thing.words for thing in of.asked.things)) for of in (one, other))
        if first.isdisjoint(second):
            assert not modules.asked.shown(one.asked, truly(modules, other.scene))


def truly(modules: SimpleNamespace, scene) -> list:
    found = []
    for place, fact in enumerate(scene.facts["things"]):
        at = modules.cells.Square.of(fact["box"])
        covered = modules.cells.covered(scene, place)
        own = fact["colour"] or "none"
        found.append(modules.reader.Thing(fact["word"], own, scene.style, False, at.x, at.y, at.side, covered))
    return found


def test_another_scene_of_a_prompt_asks_for_the_same_and_looks_otherwise(modules: SimpleNamespace, data: Path) -> None:
    for cell in ("one thing", "number", "worn"):
        (one,) = modules.cells.prompts(data, cell, "seen", 1)
        other = next(modules.cells.again(one))
        assert modules.asked.shown(one.asked, truly(modules, other.scene))
        assert other.scene.placed != one.scene.placed
        assert other.scene.style == one.scene.style


def test_a_word_for_two_things_may_mean_either(modules: SimpleNamespace) -> None:
    assert modules.cells.named("top hat", "hat") == {"top hat", "sun hat"}
    assert modules.cells.named("top hat", "blue hat", "blue") == {"top hat", "sun hat"}
    assert modules.cells.named("top hat", "top hat") == {"top hat"}
    assert modules.cells.named("cat", "cats") == {"cat"}


# Runs -----------------------------------------------------------------------------------------------------------------


def test_readings_of_a_killed_run_are_kept(modules: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "out" / "readings.jsonl"
    first = modules.readings.Readings(path)
    first.add("a", {"distance": 0.1})
    path.write_bytes(path.read_bytes() + b'{"key": "b", "dist')
    again = modules.readings.Readings(path)
    assert "a" in again
    assert "b" not in again
    again.add("b", {"distance": 0.25})
    assert modules.readings.Readings(path)["b"]["distance"] == 0.25
    path.write_text("what else\n")
    with pytest.raises(FormatError, match="line 1 of"):
        modules.readings.Readings(path)


def test_a_sweep_is_every_combination(modules: SimpleNamespace) -> None:
    found = modules.sources.settings_of(["guidance=1,2", "interval=none,0.3:5"])
    assert [modules.sources.arguments(None, one) for one in found] == [
        {"guidance": 1.0, "interval": None},
        {"guidance": 1.0, "interval": (0.3, 5.0)},
        {"guidance": 2.0, "interval": None},
        {"guidance": 2.0, "interval": (0.3, 5.0)},
    ]
    assert modules.sources.settings_of([]) == [{}]
    with pytest.raises(InputError, match="NAME=VALUE"):
        modules.sources.settings_of(["guidance"])


def test_a_table_from_beginning_to_end_and_again_without_drawing(
    modules: SimpleNamespace, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A stand-in for a system draws plain white, and one for the reader sees nothing."""
    drawn: list[str] = []

    class White:
        def plan(self, prompt: str, **drawing: object) -> None:
            pass

        def fingerprint(self) -> str:
            return "0123456789ab"

        def generate(self, prompts: list[str], seeds: list[list[int]], **drawing: object) -> SimpleNamespace:
            drawn.extend(prompts)
            assert len(seeds) == len(prompts)
            return SimpleNamespace(data=torch.ones(len(prompts), 3, 64, 64))

    class Oracle:
        def read(self, pictures: torch.Tensor) -> list[list]:
            return [[] for _ in pictures]

        def features(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean(1).flatten(1)

    composition = modules.composition
    monkeypatch.setattr(modules.sources, "load", lambda where: White())
    monkeypatch.setattr(composition.Reader, "load", lambda path: Oracle())
    (weights := tmp_path / "reader").write_bytes(b"weights")
    files = ["--markdown", str(tmp_path / "card.md"), "--sheet", str(tmp_path / "sheet.png")]
    given = ["white", "--data", str(data), "--out", str(tmp_path / "out"), "--reader", str(weights), *files]
    composition.main([*given, "--prompts", "2", "--variety", "1"])
    report = capsys.readouterr().out
    assert "| white | 0 (0–66) |" in report
    assert report.count("| real |") == 2
    assert " 0 | 0 |" in report, "no variety between white pictures"
    assert len(drawn) == 2 * 7 * 2 + composition.SEEDS + 7 * 2
    drawn.clear()
    composition.main([*given, "--prompts", "2", "--variety", "1"])
    assert len(drawn) == 7 * 2, "for the sheet alone"
    assert (tmp_path / "card.md").read_text().startswith(composition.MARK)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 1132
