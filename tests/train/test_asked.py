"""When a training is to stop, which folder it takes, and a plan alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SMALL, begin, last_step, pictures_file

from sfumato.errors import InputError, ResumeError
from sfumato.train import start, train
from sfumato.train.asked import Asked
from sfumato.train.base_recipe import Recipe
from sfumato.train.lock import held
from sfumato.train.out import new_folder, newest_run
from sfumato.train.plan import Budget, TrainingPlan
from sfumato.train.recipe import load_recipe


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with 24 pictures."""
    monkeypatch.chdir(tmp_path)
    pictures_file(tmp_path / "pictures.npz")
    return tmp_path


def test_epochs_are_passes_over_the_data_that_are_left(here: Path) -> None:
    begin("pictures.npz", here / "run", epochs=1.5)
    assert last_step(here / "run") == 5, "1.5 passes over 24 pictures in batches of 8"
    begin(None, here / "run", epochs=2, resume=True)
    assert last_step(here / "run") == 6, "in all"


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": "1"}, {"images": 1.5}, {"epochs": 1, "steps": 1}])
def test_what_cannot_be_asked_for_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="^(--|give one of)"):
        Asked(**wrong)


def test_a_run_without_a_folder_is_called_after_its_data_and_numbered(here: Path) -> None:
    (here / "runs/pictures").mkdir(parents=True)
    (here / "runs/pictures/mine.txt").write_text("mine")
    for _ in range(2):
        begin("pictures.npz", None, steps=1)
    assert sorted(path.name for path in (here / "runs").iterdir()) == ["pictures", "pictures-2", "pictures-3"]
    assert [path.name for path in (here / "runs/pictures").iterdir()] == ["mine.txt"]
    begin("pictures.npz", None, steps=2, resume=True)
    assert last_step(here / "runs/pictures-3") == 2, "the last that was at work on these data"
    with pytest.raises(ResumeError, match="pictures-2, pictures-3 are in runs: say which"):
        begin(None, None, steps=3, resume=True)


@pytest.mark.parametrize(
    ("where", "name"),
    {
        "digits": "digits",
        "hub:somebody/flowers@main/train": "flowers",
        "hub:somebody/flowers": "flowers",
        "/somewhere/photos.tar.zip": "photos",
        "/": "data",
        "/somewhere/photos/sub/..": "photos",
    }.items(),
)
def test_a_folder_is_called_as_the_data(where: str, name: str, tmp_path: Path) -> None:
    assert new_folder(where, tmp_path) == tmp_path / name


def test_no_run_to_go_on_with_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no run in .* is of '/x': say which"):
        newest_run("/x", tmp_path)
    with pytest.raises(ResumeError, match="^none is in .*: say which"):
        newest_run(None, tmp_path)


@pytest.mark.parametrize("recipe", ["digits"])
def test_a_dry_run_is_a_plan_and_leaves_nothing(here: Path, recipe: str) -> None:
    plan = train("pictures.npz", recipe=recipe, settings=SMALL, epochs=3, dry_run=True, device="cpu")
    assert isinstance(plan, TrainingPlan) and (plan.count, plan.steps) == (24, 9)
    assert [path.name for path in here.iterdir()] == ["pictures.npz"]
    with pytest.raises(InputError, match="^--dry-run plans a run from its beginning"):
        train("pictures.npz", resume=True, dry_run=True)


def test_a_plan_of_little_time_is_of_a_step_and_of_all_data(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = [*SMALL, "train.batch=2"]
    np.savez(here / "many.npz", np.zeros((100, 8, 8), np.uint8))
    plan = train("many.npz", recipe="digits", settings=settings, steps=10, dry_run=True, device="cpu")
    assert any("about 20 pictures will be seen (0.2 passes)" in message for message in caplog.messages)
    assert replace(plan, budget=Budget(10**8, 1e-6)).steps == 1
    assert "[32,32]" not in str(plan.warning) and "[32,32]" in str(replace(plan, size=(64, 64)).warning)


def test_a_folder_that_a_run_is_about_to_begin_in_is_taken(tmp_path: Path) -> None:
    with held(tmp_path / "digits"):
        assert new_folder("digits", tmp_path) == tmp_path / "digits-2"
    assert new_folder("digits", tmp_path) == tmp_path / "digits"


def test_another_run_that_begins_while_a_recipe_is_chosen_has_the_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*_: object) -> Recipe:
        (here / "runs/pictures").mkdir(parents=True)
        (here / "runs/pictures/run.json").write_text("{}")
        return load_recipe("digits", SMALL)

    monkeypatch.setattr(start, "choose", slowly)
    train("pictures.npz", steps=1, device="cpu")
    assert last_step(here / "runs/pictures-2") == 1


def test_a_run_goes_on_by_the_words_that_began_it(here: Path) -> None:
    settings = [one for one in SMALL if "warmup" not in one]
    words: dict[str, Any] = {"recipe": "ddpm", "settings": settings, "out": here / "run", "device": "cpu"}
    train("pictures.npz", steps=2, **words)
    train("pictures.npz", steps=3, resume=True, **words)
    with pytest.raises(ResumeError, match="optimizer.warmup: 1 → 5"):
        words["settings"] = [*settings, "optimizer.warmup=5"]
        train("pictures.npz", steps=4, resume=True, **words)
