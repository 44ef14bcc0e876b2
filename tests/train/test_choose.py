"""The recipe of a training for which none is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate import Accelerator
from PIL import Image
from small_runs import SMALL, last_step

from sfumato import files
from sfumato.errors import InputError
from sfumato.train import choose as choosing
from sfumato.train import train
from sfumato.train.asked import Asked
from sfumato.train.choose import Kind, best_kind, kinds, loop
from sfumato.train.compute import Compute
from sfumato.train.denoise_recipe import DenoiseRecipe
from sfumato.train.plan import Budget
from sfumato.train.recipe import load_recipe
from sfumato.train.speed import seconds_a_sample
from sfumato.train.survey import Survey, survey

PHOTOS = Survey(3781, side=128, classes=10)


def photos(folder: Path, side: int, grey: bool = False) -> Path:
    """Six pictures a class, of noise, each a little longer than wide."""
    shape = (side + 4, side) if grey else (side + 4, side, 3)
    for i in range(12):
        path = folder / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return folder


def compute() -> Compute:
    return Compute(Accelerator(cpu=True), "float32")


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds a sample, in the place of a measurement."""
    found = [0.01]
    monkeypatch.setattr(choosing, "seconds_a_sample", lambda recipe, shape, compute: found[0])
    return found


def test_a_survey_finds_what_data_are(tmp_path: Path) -> None:
    assert survey(str(photos(tmp_path / "photos", 70))) == Survey(12, side=70, classes=2)
    assert survey(str(photos(tmp_path / "letters", 8, grey=True))) == Survey(12, side=8, classes=2, grey=True)
    (tmp_path / "photos/cat/0.png").write_bytes(b"broken")
    assert survey(str(tmp_path / "photos")).side == 70
    for i in range(12):
        (tmp_path / f"photos/{('cat', 'dog')[i % 2]}/{i}.txt").write_text("a cat\n")
    assert survey(str(tmp_path / "photos")).captioned


@pytest.mark.parametrize(
    ("found", "recipe", "sizes"),
    [
        (PHOTOS, "latent", [(64, 64), (96, 96), (128, 128)]),
        (Survey(100, side=80, captioned=True), "text-to-image", [(64, 64)]),
        (Survey(100, side=50), "edm", [(32, 32)] * 3),
        (Survey(100, side=30, grey=True), "edm", [(28, 28)] * 3),
        (Survey(100, sounds=True), "sound", [(11_264,)]),
    ],
)
def test_each_way_to_train_is_a_recipe_that_holds(found: Survey, recipe: str, sizes: list[tuple[int, ...]]) -> None:
    options = kinds(found)
    assert [kind.recipe for kind in options] == [recipe] * len(sizes)
    for kind, size in zip(options, sizes, strict=True):
        own = load_recipe(kind.recipe, [*kind.settings, *loop(kind, 50_000, 30.0)])
        assert own.data.wanted_size == size and own.dump()["data"].get("flip") in (not found.grey, None)
    assert [kind.least for kind in options] == sorted(kind.least for kind in options)


def test_the_best_is_taken_that_sees_its_least() -> None:
    options = [Kind("latent", (), (1,), least, 1.0, 1e-3) for least in (0, 100, 1000)]
    assert [best_kind(options, [n, n // 2, n // 4]) for n in (1, 199, 200, 4000)] == [0, 0, 1, 2]


def test_batch_and_rate_follow_the_samples_that_will_be_seen() -> None:
    assert loop(kinds(PHOTOS)[0], 20_000, 30.0)[:4] == (
        *("train.batch=32", "train.steps=625", "train.show_minutes=5"),
        "optimizer.learning_rate=0.0005",
    )
    assert loop(kinds(PHOTOS)[0], 2_400_000, None)[0] == "train.batch=1024"


@pytest.mark.parametrize(("samples", "path"), [(3_999, "emoji-single"), (4_000, None)])
def test_a_codec_is_fitted_only_where_there_is_time_for_it(samples: int, path: str | None) -> None:
    kind = kinds(PHOTOS)[0]
    own = load_recipe(kind.recipe, [*kind.settings, *loop(kind, samples, 2.0)])
    assert isinstance(own, DenoiseRecipe)
    assert (own.codec.path, own.codec.init_from) == (path, None if path else "emoji-single")


def test_what_is_chosen_is_on_record_and_what_was_set_is_kept(tmp_path: Path, speed: list[float]) -> None:
    data, out = photos(tmp_path / "photos", 16), tmp_path / "run"
    settings = [setting for setting in SMALL if not setting.startswith("train")]
    train(data, out=out, settings=[*settings, "train.batch=4"], epochs=1, device="cpu")
    recipe = files.read_json(out / "run.json")["recipe"]
    assert last_step(out) == 3 and recipe["about"].startswith("edm at 16×16, chosen for about 1 passes")
    assert (recipe["train"]["batch"], recipe["network"]["width"], recipe["optimizer"]["warmup"]) == (4, 8, 3)
    speed[0] = 100.0  # of another day
    train(out=out, resume=True, epochs=2, device="cpu")
    assert last_step(out) == 6 and files.read_json(out / "run.json")["recipe"] == recipe


@pytest.mark.parametrize(
    ("seconds", "asked", "side"),
    [
        (1.0, Asked(minutes=30), 64),
        (0.01, Asked(minutes=30), 128),
        (0.02, Asked(minutes=30), 96),
        (1.0, Asked(epochs=100), 128),
        (0.04, Asked(), 96),
    ],
)
def test_larger_pictures_are_chosen_where_there_is_time(
    seconds: float, asked: Asked, side: int, speed: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed[0] = seconds
    monkeypatch.setattr(choosing, "survey", lambda where: PHOTOS)
    own = choosing.choose("photos", (), asked, compute())
    assert own.data.wanted_size == (side, side)
    fixed = choosing.choose("photos", ["data.size=[64,128]"], asked, compute())
    assert fixed.data.wanted_size == (64, 128)


@pytest.mark.parametrize(
    ("settings", "asked", "batch", "steps"),
    [
        ((), Asked(steps=100_000), 32, 100_000),
        (("train.batch=256",), Asked(minutes=60), 256, 1265),
        (("train.batch = 8",), Asked(steps=500), 8, 500),
        (("train.steps=500",), Asked(), 32, 500),
        (("train.steps=9", "train.steps=500"), Asked(), 32, 500),
        (("train.batch=10",), Asked(epochs=100), 10, 37_810),
    ],
)
def test_what_is_chosen_follows_from_what_was_set(
    settings: tuple[str, ...], asked: Asked, batch: int, steps: int, speed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "survey", lambda where: PHOTOS)
    speed[0] = 0.00778
    own = choosing.choose("photos", settings, asked, compute())
    assert (own.train.batch, own.train.steps, own.optimizer.decay) == (batch, steps, steps // 2)


@pytest.mark.parametrize("settings", [5, [5], ["train.batch"], ["train.batch=0"], ["train.steps=x"]])
def test_settings_that_are_none_are_refused_by_a_choice_too(
    settings: Any, speed: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "survey", lambda where: PHOTOS)
    with pytest.raises(InputError):
        choosing.choose("photos", settings, Asked(), compute())


def test_how_fast_a_network_learns_is_measured(tmp_path: Path) -> None:
    recipe = load_recipe("digits", [*SMALL])
    assert isinstance(recipe, DenoiseRecipe)
    assert 0 < seconds_a_sample(recipe, (1, 8, 8), compute()) < 10


def test_a_plan_that_will_show_nothing_says_what_would(tmp_path: Path) -> None:
    plan = train("digits", recipe="digits", settings=SMALL, steps=10, dry_run=True, device="cpu")
    assert plan.warning is not None and plan.warning.startswith("about 80 pictures will be seen (0.0 passes), ")
    assert "--images 20000 would" in plan.warning
    timed = replace(plan, budget=Budget(10**8, 1.0), seconds_a_step=1.0)
    assert timed.warning is not None and "--minutes 84 would" in timed.warning
    assert replace(timed, seconds_a_step=0.01).warning is None
