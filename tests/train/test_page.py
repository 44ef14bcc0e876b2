"""The page of a run: what stands on it, that nothing on it is markup of the data's, and that it is never the run's
trouble."""

import json
import re
import tomllib
import webbrowser
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_runs import begin, pictures_file, trainer

from sfumato.data import open_source, prepare
from sfumato.errors import Stopped
from sfumato.train import recipe
from sfumato.train.page import RunPage, show_page
from sfumato.train.page.chart import chart, short
from sfumato.train.page.curve import MOST_POINTS, read_curve
from sfumato.train.page.toml import toml
from sfumato.train.plan import Budget
from sfumato.train.run_folder import RunFolder

HOSTILE = '<script>alert("1")</script>'


class Parsed(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(run: Path) -> Parsed:
    return Parsed((run / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps, a sheet at each, in two sittings."""
    out = tmp_path_factory.mktemp("page") / "of digits"
    begin(data, out, "train.show_minutes=0", steps=2)
    begin(None, out, resume=True, steps=4)
    return out


def test_the_page_says_what_a_run_is_and_how_it_goes(run: Path) -> None:
    page = page_of(run)
    for words in (
        *("of digits", "finished at step 4", "samples of step 4", "24 of 8×8", "3: 0, 1, 2", "parameters"),
        *("loss", "learning rate", "pictures a second", "sittings", "0 to 2", "2 to 4"),
        f"sfumato train --resume --out '{run}' --minutes 60",
        f"sfumato generate 0 --model '{run}' -n 8 --out drawn",
    ):
        assert words in page.text, words


def test_the_page_wants_nothing_from_elsewhere(run: Path) -> None:
    page = page_of(run)
    sources = [one.get("src") or one.get("href") for one in (*page.all("img"), *page.all("a"), *page.all("link"))]
    assert sources and all(re.match(r"[\w./-]+$", source or "") and (run / str(source)).exists() for source in sources)
    assert "http" not in (run / "index.html").read_text(encoding="utf-8")


def test_sheets_over_time_are_there(run: Path) -> None:
    page = page_of(run)
    (large,) = [one for one in page.all("img") if one.get("id") == "sheet"]
    assert large["src"] == "samples/step-000000004.png" and large["alt"] == "samples of 0; 1; 2"
    steps = [str(step) for step in RunFolder(run).preview_steps()]
    assert len(steps) > 1 and [one["data-steps"] for one in page.all("input")] == [" ".join(steps)]
    assert [one["data-step"] for one in page.all("a") if "data-step" in one] == steps


def test_the_recipe_on_the_page_is_the_runs_own(run: Path) -> None:
    found = re.search(r"as TOML</summary><pre>(.*?)</pre>", (run / "index.html").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    own = Parsed(found[1])
    assert recipe.check_recipe(tomllib.loads("".join(own.words))) == recipe.check_recipe(
        json.loads((run / "run.json").read_text())["recipe"]
    )


@pytest.mark.parametrize("name", recipe.recipe_names())
def test_recipes_survive_as_toml(name: str) -> None:
    own = recipe.load_recipe(name)
    assert recipe.check_recipe(tomllib.loads(toml(own.dump()))).dump() == own.dump()


def test_toml_of_names_and_texts_that_must_be_quoted() -> None:
    tables = {"a b": 1, "t": {"": 'x\n\x7f"\\', "é": [1.5, True, {"k": "v"}], "none": None, "empty": {}}}
    assert tomllib.loads(toml(tables)) == {"a b": 1, "t": {"": 'x\n\x7f"\\', "é": [1.5, True, {"k": "v"}], "empty": {}}}


# What is not to be trusted --------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Classes of names that are markup, an emoji and very long ones; broken pictures of such names."""
    data = tmp_path / "data"
    for i, name in enumerate(("<script>alert(1)<", "&lt;img src=x onerror=alert(1)>", "😀 {{ 7 * 7 }}", "x" * 200)):
        (data / name).mkdir(parents=True)
        for j in range(4):
            Image.new("L", (8, 8), 60 * i + j).save(data / name / f"{j}.png")
        for j in range(80):
            (data / name / f"<h6>{j}.png").write_bytes(b"")
    return data


def test_nothing_on_the_page_is_markup_of_the_data(hostile: Path, tmp_path: Path) -> None:
    out = tmp_path / HOSTILE.replace("/", "")
    begin(hostile, out, "train.show_minutes=0", steps=2)
    page = page_of(out)
    assert len(page.all("script")) == 1 and not page.all("h6")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for words in ("<script>alert(1)<", "onerror=alert(1)>", "😀 {{ 7 * 7 }}", "<h6>0.png", "an empty file"):
        assert words in page.text, words
    assert "and 120 more, named in" in page.text and page.text.count("an empty file") == 200
    assert (out / "index.html").stat().st_size < 100_000


def test_a_thousand_classes_are_shown_in_part(tmp_path: Path) -> None:
    data = pictures_file(tmp_path / "data.npz", 1000, list(range(1000)))
    begin(data, tmp_path / "run", steps=1)
    assert "1,000: 0, 1, 2," in page_of(tmp_path / "run").text and "… 936 more" in page_of(tmp_path / "run").text


def test_a_page_of_somebody_else_stays(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(data, tmp_path / "run", steps=1)
    (tmp_path / "run" / "index.html").write_text("<h1>mine</h1>")
    begin(None, tmp_path / "run", resume=True, steps=2)
    assert (tmp_path / "run" / "index.html").read_text() == "<h1>mine</h1>"
    assert sum("is not ours, and stays as it is" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("name", ["index.html", "history.json"])
def test_what_keeps_the_page_from_being_written_ends_nothing(
    data: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin(data, tmp_path / "run", steps=1)
    (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / name).mkdir()
    begin(None, tmp_path / "run", resume=True, steps=3)
    assert RunFolder(tmp_path / "run").last_step == 3
    warnings = [one for one in caplog.messages if "could not be written" in one or "stays as it is" in one]
    assert len(warnings) == 1


# States ---------------------------------------------------------------------------------------------------------------


def live(data: Path, tmp_path: Path) -> RunPage:
    """The page of a run that trains, from step 0."""
    own = trainer(data, tmp_path, "train.steps=10")
    own.folder.record({})
    dataset = prepare(open_source(data), size=(8, 8), channels=1)
    page = RunPage(own.folder, str(data), own.recipe, dataset, ["a note"])
    page.begin(own.recipe, own.rehearse(Budget(10)))
    return page


def test_a_run_that_has_no_sheet_yet_says_when(data: Path, tmp_path: Path) -> None:
    live(data, tmp_path).step(1, 0.5, 10.0, 65, 0.1)
    page = page_of(tmp_path)
    assert "There is no sheet of samples yet: the first comes after 2 minutes" in page.text and not page.all("img")
    assert "a note" in page.text and page.all("body")[0]["data-live"]


def test_a_run_that_trains_says_how_long_still(data: Path, tmp_path: Path) -> None:
    page = live(data, tmp_path)
    page._due = 0.0
    page.step(3, 0.5, 10.0, 65, 0.3)
    assert "training step 3, about 1 min 05 s left" in page_of(tmp_path).text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "finished at step 0"),
        (Stopped("stopped", 15), "stopped by a signal at step 0"),
        (ValueError(HOSTILE), f"by an error: {HOSTILE}"),
    ],
)
def test_how_a_run_ended_stands_on_its_page(
    data: Path, tmp_path: Path, error: BaseException | None, words: str
) -> None:
    page = live(data, tmp_path)
    page.__exit__(None if error is None else type(error), error, None)
    assert words in page_of(tmp_path).text and not page_of(tmp_path).all("body")[0]["data-live"]


def test_a_killed_sitting_has_no_end_on_record(data: Path, tmp_path: Path) -> None:
    live(data, tmp_path)
    live(data, tmp_path)
    assert "no end on record, as when it is killed" in page_of(tmp_path).text
    assert len(json.loads((tmp_path / "history.json").read_text())["sittings"]) == 2


@pytest.mark.parametrize("text", ["", "null", '{"sittings": 3}', '{"sittings": [1, {"began": 5, "from": "x"}]}'])
def test_a_history_that_is_not_ours_is_no_trouble(data: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "history.json").write_text(text)
    live(data, tmp_path)
    assert "training" in page_of(tmp_path).text
    kept = (tmp_path / "history.json").read_text() == text
    assert kept == ("began" not in text), "what cannot be read as ours is somebody else's"


# The curve and its chart ----------------------------------------------------------------------------------------------


def log(path: Path, steps: Iterator[int] | range) -> Path:
    path.write_text("".join(f'{{"step": {i}, "loss": {1 / (i + 1)}, "pictures_a_second": 10.0}}\n' for i in steps))
    return path


@pytest.mark.parametrize("lines", [1, 7, 999, 1001, 12_345, 60_000])
def test_a_log_of_any_length_is_some_points(tmp_path: Path, lines: int) -> None:
    points = read_curve(log(tmp_path / "log.jsonl", range(lines)))
    steps = [point.step for point in points]
    assert min(lines, MOST_POINTS // 2) <= len(points) <= MOST_POINTS
    assert steps == sorted(set(steps)) and steps[-1] == lines - 1 and steps[0] < max(lines / 100, 1)
    assert all(abs(1 / point.loss - point.step) <= max(lines / 200, 2) for point in points[10:])


def test_what_is_no_line_of_a_log_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\nnull\n[1]\n{"step": 2}\n{"step": 3, "loss": NaN}\n{"step": 4, "lo')
    assert [(point.step, point.loss, point.rate) for point in read_curve(path)] == [(1, 2.0, 0.0)]
    assert read_curve(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [-3.0, 2.0], [1e-9, 1e9], [5.0] * 100, [1e-100, 1e100]])
@pytest.mark.parametrize("powers", [False, True])
def test_charts_fit_their_frame(values: list[float], powers: bool) -> None:
    found = chart("loss", range(len(values)), values, smooth=True, log=powers)
    numbers = [float(one) for one in re.findall(r"[-\d.]+", found.line + found.raw)]
    assert all(-0.1 <= one <= 1000.1 for one in numbers)
    assert 1 <= len(found.up) <= 8 and all(-0.1 <= place <= 100.1 for place, _ in (*found.up, *found.across))


def test_an_axis_of_powers_of_ten_has_the_marks_of_one() -> None:
    assert [words for _, words in chart("loss", [1, 2], [1.0, 0.011], log=True).up] == [
        "0.01",
        "0.02",
        "0.05",
        "0.1",
        "0.2",
        "0.5",
        "1",
    ]
    assert [short(value) for value in (0.0, 1500.0, 25_000.0, 3.2e6, 1e-5)] == ["0", "1,500", "25k", "3.2M", "1e-05"]


# The browser ----------------------------------------------------------------------------------------------------------


def test_a_page_is_opened_only_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not show_page(tmp_path / "index.html") and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    assert show_page(tmp_path / "index.html")


def test_train_opens_its_page_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("sfumato.train.page.page.show_page", opened.append)
    begin(data, tmp_path / "run", "train.show_minutes=0", steps=2, open_page=True)
    assert opened == [tmp_path / "run" / "index.html"]
