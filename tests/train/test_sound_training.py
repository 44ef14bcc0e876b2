"""Sounds in training: what is read of them, what is made, and that a run goes on exactly."""

import logging
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import everything, last_step

import sfumato
from sfumato.data import Dataset
from sfumato.errors import InputError
from sfumato.media import Audio
from sfumato.system import System
from sfumato.system.samples import read_record
from sfumato.train import train
from sfumato.train.feed import AudioFeed
from sfumato.train.recipe import load_recipe

SMALL = (
    "data.samples=64",
    "network.patch=2",
    "network.width=8",
    "network.depth=1",
    "network.head_width=8",
    "train.batch=4",
    "train.show_minutes=99",
    "settings.steps=2",
)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A dozen tones of two classes; some are shorter than those of `SMALL`, and some longer."""
    for i in range(12):
        folder = tmp_path / "sounds" / ("high" if i % 2 else "low")
        folder.mkdir(parents=True, exist_ok=True)
        x = 8000 * np.sin(np.arange(40 + 5 * i) * (0.2 + i % 2))
        with wave.open(str(folder / f"{i:02d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(22_050)
            file.writeframes(x.astype("<i2").tobytes())
    return tmp_path / "sounds"


def begin(data: Path | None, out: Path, **options: Any) -> Any:
    chosen: dict[str, Any] = {"device": "cpu", "precision": "float32"} | options
    if not chosen.get("resume"):
        chosen = {"recipe": "sound", "settings": SMALL} | chosen
    return train(data, out=out, **chosen)


def dataset(*rows: list[int]) -> Dataset:
    stored = np.array(rows, dtype=np.int16)[:, None]
    n = len(rows)
    return Dataset(Audio(), stored, None, ((),) * n, tuple(map(str, range(n))), (), (), (), "")


def test_a_folder_of_sounds_becomes_a_system_that_draws_sounds(
    sounds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sfumato")
    begin(sounds, tmp_path / "run", steps=3)
    messages = caplog.messages
    assert f"{sounds}: 12 sounds of 64 samples in 2 classes" in messages
    assert any(line.endswith("passes over 12 sounds") for line in messages) and not any(
        "picture" in line for line in messages
    )
    system = sfumato.load(tmp_path / "run", "cpu", "float32")
    assert isinstance(system, System) and system.about["sounds seen"] == 12
    samples = system.generate(["low", "high"], seeds=[3])
    assert samples.medium == Audio() and samples.data.shape == (2, 1, 64)
    low, _ = samples.save(tmp_path / "drawn")
    assert low.name == "low-3.wav" and read_record(low)["prompt"] == "low"
    assert '"sounds_a_second"' in (tmp_path / "run" / "log.jsonl").read_text()


def test_a_run_on_sounds_goes_on_exactly_and_shows_them(sounds: Path, tmp_path: Path) -> None:
    begin(sounds, tmp_path / "whole", steps=4)
    begin(sounds, tmp_path / "halved", steps=2)
    begin(None, tmp_path / "halved", steps=4, resume=True)
    for name in ("checkpoints/step-000000004.safetensors", "samples/step-000000004.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "halved" / name).read_bytes()
    assert everything(tmp_path / "whole" / "system") == everything(tmp_path / "halved" / "system")
    assert last_step(tmp_path / "halved") == 4


def test_sounds_are_seen_at_their_own_gain_or_at_one_of_their_peak_in_either_polarity() -> None:
    data, index = dataset([16384, -8192], [0, 0], [4096, 2048]), torch.tensor([0, 1, 2])
    own = AudioFeed(data)
    assert own.views == 1
    assert own.samples(index, torch.zeros(3).long())[:, 0].tolist() == [[0.5, -0.25], [0, 0], [0.125, 0.0625]]
    feed = AudioFeed(data, peak=True, invert=True)
    assert feed.views == 2
    seen = feed.samples(index, torch.tensor([0, 1, 1]))[:, 0]
    assert seen.tolist() == [[1, -0.5], [0, 0], [-1, -0.5]]
    assert len({AudioFeed(data, *options).digest() for options in ((), (True,), (True, True), (False, True))}) == 4


@pytest.mark.parametrize(
    ("name", "setting", "match"),
    [
        (
            "sound",
            "data.flip=true",
            r"^data\.flip is read where data\.medium is image, and it is audio here, which reads .*\bsamples\b",
        ),
        (
            "digits",
            "data.rate=8000",
            r"^data\.rate is read where data\.medium is audio, and it is image here, which reads .*\bsize\b",
        ),
        ("sound", "data.seconds=1.0", r"data\.seconds and data\.samples both say how long a sound is"),
        ("sound", "data.samples=11265", "11264"),
        ("sound", "data.rate=10", r"'data\.rate'"),
        ("sound", "network.kind=unet", r"wants network\.kind=unet-1d or dit-1d, not unet"),
        ("sound", "codec.kind=latent", "works on pictures, and data.medium is audio"),
        ("classifier", "data.medium=audio", "the task classify works on pictures, and data.medium is audio"),
    ],
)
def test_what_sounds_do_not_have_is_refused(name: str, setting: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_recipe(name, [setting])


def test_a_second_is_as_many_samples_as_the_rate_says() -> None:
    own = load_recipe("sound", ["data.samples=null", "data.seconds=0.5", "data.rate=8192"])
    assert own.data.wanted_size == (4096,)
