"""Twenty ways to go on with a run as another: each is refused with the difference, changes nothing, and where it can
be, is accepted when asked for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfumato import files
from sfumato.errors import ResumeError
from train.small_runs import begin, everything, last_step, newest, tensors

SETTINGS = {
    "train.batch=4": r"train\.batch: 8 → 4",
    "train.seed=1": r"train\.seed: 0 → 1",
    "train.accumulate=2": r"train\.accumulate: 1 → 2",
    "optimizer.learning_rate=0.5": r"optimizer\.learning_rate: [\d.e-]+ → 0\.5",
    "optimizer.clip=0.5": r"optimizer\.clip: 1\.0 → 0\.5",
    "optimizer.warmup=9": r"optimizer\.warmup: 3 → 9",
    "optimizer.weight_decay=0.5": r"optimizer\.weight_decay: 0\.0 → 0\.5",
    'average={"kind":"constant","rate":0.5}': r"average\.kind: power → constant",
    'schedule={"kind":"linear"}': r"schedule\.kind: \w+ → linear",
    'loss={"kind":"denoising","weight":{"kind":"snr"}}': r"loss\.weight\.kind: \w[\w-]* → snr",
    'parameterization={"kind":"x0"}': r"parameterization\.kind: \w+ → x0",
    "condition.dropout=0.5": r"condition\.dropout: 0\.\d+ → 0\.5",
    "data.flip=true": r"data\.flip: False → True",
    "network.dropout=0.5": r"network\.dropout: None → 0\.5",
}


@pytest.fixture(scope="module")
def saved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saved") / "run"
    begin(data, out, steps=2)
    return out


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    """A run of two steps."""
    return shutil.copytree(saved, tmp_path / "run")


def refused(run: Path, text: str, *settings: str, data: Path | None = None, **options: Any) -> None:
    before = everything(run)
    for _ in range(2):  # the second try is refused as the first was
        with pytest.raises(ResumeError, match=text) as caught:
            begin(data, run, *settings, resume=True, steps=3, **options)
        assert "\n" not in str(caught.value)
        assert everything(run) == before


def accepted(run: Path, *settings: str, data: Path | None = None, **options: Any) -> None:
    begin(data, run, *settings, resume=True, steps=3, accept_changes=True, **options)
    assert last_step(run) == 3


@pytest.mark.parametrize("setting", SETTINGS)
def test_another_recipe(setting: str, run: Path) -> None:
    refused(run, rf"^the recipe differs from the run's: .*{SETTINGS[setting]}.*\. --accept-changes goes on", setting)
    accepted(run, setting)


def repainted(arrays: dict[str, Any]) -> dict[str, Any]:
    return arrays | {"images": 255 - arrays["images"]}


def relabelled(arrays: dict[str, Any]) -> dict[str, Any]:
    return arrays | {"labels": arrays["labels"][::-1]}


def fewer(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: values[:-1] for name, values in arrays.items()}


@pytest.mark.parametrize("change", [repainted, relabelled, fewer])
def test_other_data(change: Callable[[dict[str, Any]], dict[str, Any]], run: Path, data: Path, tmp_path: Path) -> None:
    with np.load(data) as arrays:
        np.savez(tmp_path / data.name, **change(dict(arrays)))
    what = (
        "24 → 23 pictures"
        if change is fewer
        else "24 pictures as before, but not the same ones, or not in the same form"
    )
    text = rf"^this is not as the run was begun: the data: {what} \(fingerprint: \w+ → \w+\)"
    refused(run, text, data=tmp_path / data.name)
    accepted(run, data=tmp_path / data.name)


def test_another_precision(run: Path) -> None:
    refused(run, r"^this is not as the run was begun: precision: float32 → bfloat16\.", precision="bfloat16")
    accepted(run, precision="bfloat16")


def test_another_version(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"sfumato": "0.0.1"}))
    refused(run, r"^this is not as the run was begun: sfumato: 0\.0\.1 → \d+\.\d+\.\d+\.")
    accepted(run)


def test_a_missing_average(run: Path) -> None:
    """For which no word helps."""
    kept, about = files.read_tensors(newest(run))
    files.write_tensors(newest(run), {name: t for name, t in kept.items() if not name.startswith("average.")}, about)
    for accept in (False, True):
        text = r"step-000000002\.safetensors does not fit this run: average\..* is missing$"
        refused(run, text, accept_changes=accept)
    assert tensors(newest(run))
