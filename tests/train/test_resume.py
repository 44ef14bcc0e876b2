"""Going on with a run: the same bytes as if it had never stopped, or a refusal that says why not."""

import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import (
    begin,
    checkpoints,
    digest,
    equal,
    everything,
    last_step,
    left,
    newest,
    pictures_file,
    tensors,
    trainer,
    weights,
)

from sfumato import files, load
from sfumato.data import prepare
from sfumato.errors import FormatError, InputError, NotFoundError, ResumeError, StorageError
from sfumato.train import checkpoint
from sfumato.train.log import Log
from sfumato.train.plan import Budget
from sfumato.train.run_folder import RunFolder
from sfumato.train.signals import Stopper

HARD = (
    "network.dropout=0.2",
    "data.flip=true",
    "condition.dropout=0.3",
    "train.accumulate=2",
    "network.multipliers=[1,2]",
    "network.attention=[1]",
)

# Exactness ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "around", [torch.no_grad, torch.inference_mode, partial(torch.autocast, "cpu", torch.bfloat16)]
)
def test_what_a_caller_has_set_in_torch_changes_no_training(
    around: Callable[[], Any], data: Path, tmp_path: Path
) -> None:
    begin(data, tmp_path / "plain", steps=2)
    torch.set_default_dtype(torch.float64)
    try:
        with around():
            begin(data, tmp_path / "within", steps=2)
            assert torch.get_default_dtype() == torch.float64, "and holds again after it"
    finally:
        torch.set_default_dtype(torch.float32)
    assert digest(newest(tmp_path / "plain")) == digest(newest(tmp_path / "within"))


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="a path that is no Unicode is opened through /dev/fd")
def test_a_folder_whose_name_is_no_unicode_is_gone_on_with(data: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9")
    begin(data, out, steps=2)
    begin(None, out, steps=4, resume=True)
    begin(data, tmp_path / "plain", steps=4)
    assert digest(newest(out)) == digest(newest(tmp_path / "plain"))
    assert load(out).generate(seeds=[0], steps=1).data.isfinite().all()


@pytest.mark.parametrize(
    ("average", "precision"), [('{"kind":"power"}', "float32"), ('{"kind":"constant","rate":0.9}', "bfloat16")]
)
def test_a_resumed_run_ends_with_the_same_bytes(average: str, precision: str, data: Path, tmp_path: Path) -> None:
    """Weights, average and both moments; with all that draws random numbers in use."""
    settings = [*HARD, f"average={average}"]
    begin(data, tmp_path / "once", *settings, steps=7, precision=precision)
    begin(data, tmp_path / "thrice", *settings, steps=1, precision=precision)
    for steps in (4, 7):
        torch.manual_seed(steps)
        begin(None, tmp_path / "thrice", resume=True, steps=steps, precision=precision)
    once, thrice = tensors(newest(tmp_path / "once")), tensors(newest(tmp_path / "thrice"))
    assert equal(once, thrice)
    assert {name.split(".")[0] for name in once} == {"network", "average", "exp_avg", "exp_avg_sq"}
    assert digest(newest(tmp_path / "once")) == digest(newest(tmp_path / "thrice"))
    assert everything(tmp_path / "once" / "system") == everything(tmp_path / "thrice" / "system")


def test_without_a_seed_of_its_own_dropout_would_differ(data: Path, tmp_path: Path) -> None:
    """The test above can fail: other draws do give other bytes."""
    digests = set()
    for seed in (0, 1):
        begin(data, tmp_path / str(seed), *HARD, f"train.seed={seed}", steps=2)
        digests.add(digest(newest(tmp_path / str(seed))))
    assert len(digests) == 2


def test_saving_and_showing_change_nothing(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "quiet", *HARD, "train.save_minutes=99", "train.show_minutes=99", steps=3)
    begin(data, tmp_path / "busy", *HARD, "train.save_minutes=0", "train.show_minutes=0", steps=3)
    assert digest(newest(tmp_path / "quiet")) == digest(newest(tmp_path / "busy"))


def test_a_run_killed_before_its_first_checkpoint_begins_again(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "once", steps=2)
    out = tmp_path / "killed"
    begin(data, out, steps=1)
    for folder in ("checkpoints", "system", "samples"):
        for path in (out / folder).iterdir():
            path.unlink()
    begin(None, out, resume=True, steps=2)
    assert digest(newest(out)) == digest(newest(tmp_path / "once"))
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [2]


def test_what_a_killed_writer_left_disturbs_nothing(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "once", steps=3)
    out = tmp_path / "run"
    begin(data, out, steps=2)
    for folder, name in (
        ("checkpoints", "step-000000009.safetensors"),
        ("system", "network.safetensors"),
        ("", "run.json"),
    ):
        left(out / folder / name)
    (out / "checkpoints" / "note.txt").write_text("mine")
    begin(None, out, resume=True, steps=3)
    assert digest(newest(out)) == digest(newest(tmp_path / "once"))
    assert (out / "checkpoints" / "note.txt").read_text() == "mine"
    found = {path.suffix for path in (out / "system").iterdir()} - {".part"}
    assert found == {".json", ".safetensors"} and len(list((out / "system").glob("*.safetensors"))) == 1


def test_what_a_killed_writer_left_is_cleared(data: Path, tmp_path: Path) -> None:
    """Else each kill costs a checkpoint's worth of disk for good."""
    out = tmp_path / "run"
    begin(data, out, steps=1)
    for folder in ("checkpoints", "system"):
        left(out / folder / "x.safetensors")
    begin(None, out, resume=True, steps=2)
    assert not list(out.rglob("*.part"))


def test_a_run_may_go_on_further_than_was_asked_at_first(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    begin(data, out, "train.steps=2")
    with pytest.raises(InputError, match="has made 2 steps already, and 2 are asked for in all$"):
        begin(None, out, resume=True)
    begin(None, out, resume=True, images=24)
    assert last_step(out) == 3
    begin(str(data), out, resume=True, minutes=0.001)
    assert last_step(out) >= 3


class Death(BaseException):
    """What nothing catches."""


def dies(*_: Any, **__: Any) -> None:
    raise Death


@pytest.mark.parametrize("missing", ["all", "json", "older", "sheet"])
def test_a_run_that_ended_between_its_last_checkpoint_and_its_system_is_finished(
    missing: str, data: Path, tmp_path: Path
) -> None:
    begin(data, tmp_path / "once", "train.save_minutes=0", steps=2)
    out = tmp_path / "run"
    begin(data, out, "train.save_minutes=0", steps=1)
    older = shutil.copytree(out / "system", tmp_path / "older")
    begin(None, out, resume=True, steps=2)
    if missing == "sheet":
        (out / "samples" / "step-000000002.png").unlink()
    elif missing == "json":
        (out / "system" / "system.json").unlink()
    else:
        shutil.rmtree(out / "system")
        shutil.rmtree(out / "samples")
        if missing == "older":
            shutil.copytree(older, out / "system")
    before = everything(out / "checkpoints")
    assert begin(None, out, resume=True, steps=2 if missing == "all" else 1).about["steps"] == 2
    assert everything(out / "checkpoints") == before
    for name in ("system", "samples"):
        wanted = everything(tmp_path / "once" / name)
        assert {key: everything(out / name).get(key) for key in wanted if "000001" not in key} == {
            key: value for key, value in wanted.items() if "000001" not in key
        }
    with pytest.raises(InputError, match="has made 2 steps already, and 2 are asked for in all$"):
        begin(None, out, resume=True, steps=2)


def test_a_classifier_that_was_not_written_is_finished(data: Path, tmp_path: Path) -> None:
    settings = ["train.batch=8", "network.width=8", "network.multipliers=[1]", "network.attention=[]"]
    out, options = tmp_path / "run", {"recipe": "classifier", "settings": settings, "steps": 1}
    begin(data, out, **options)
    shutil.rmtree(out / "classifier")
    begin(None, out, resume=True, steps=1)
    assert (out / "classifier" / "classifier.json").exists()
    with pytest.raises(InputError, match="has made 1 steps already"):
        begin(None, out, resume=True, steps=1)


def test_the_log_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.jsonl")
    log.cut(5)
    for step in (1, 5, 6, 9):
        log.write(step=step, loss=0.5)
    with open(log.path, "a") as file:
        file.write('{"step": 3\n[]\n{"step": 2, "lo')
    log.cut(5)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"step": 1, "loss": 0.5},
        {"step": 5, "loss": 0.5},
    ]
    log.write(step=6)
    assert log.path.read_text().endswith('{"step": 6}\n')
    log.cut(-1)
    assert log.path.read_bytes() == b""


def test_a_log_that_cannot_be_written_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Log(tmp_path / "none" / "log.jsonl")
    for step in range(3):
        log.write(step=step)
    (message,) = caplog.messages
    assert message.startswith(f"cannot write {log.path} (No such file or directory)")


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved_run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saved") / "run"
    begin(data, out, "train.save_minutes=0", steps=2)
    return out


@pytest.fixture
def run(saved_run: Path, tmp_path: Path) -> Path:
    """A run of two steps, each saved."""
    return shutil.copytree(saved_run, tmp_path / "run")


def refused(
    run: Path, text: str, kind: type[Exception] = ResumeError, data: Path | str | None = None, **options: Any
) -> None:
    """Going on is refused, with this text on one line, and the run stays as it was."""
    before = everything(run)
    with pytest.raises(kind, match=text) as caught:
        begin(data, run, *options.pop("settings", ()), resume=True, steps=4, **options)
    assert "\n" not in str(caught.value)
    assert everything(run) == before


def test_another_setting_is_refused_and_named(run: Path) -> None:
    text = r"^the recipe differs from the run's: train\.batch: 8 → 4\. --accept-changes goes on with them$"
    refused(run, text, settings=["train.batch=4"])
    refused(run, r"train\.batch: 8 → 4; train\.seed: 0 → 1\.", settings=["train.batch=4", "train.seed=1"])


def test_another_recipe_is_refused_and_named(run: Path) -> None:
    refused(
        run, r"the recipe differs from the run's: .*network\.width: 8 → \d+; .*train\.batch: 8 → 128", recipe="digits"
    )


def test_the_same_recipe_and_data_are_not_refused(run: Path, data: Path) -> None:
    begin(data, run, "train.batch=8", "network.width=8", resume=True, steps=3)
    assert last_step(run) == 3


def test_other_data_is_refused(run: Path, tmp_path: Path) -> None:
    other = pictures_file(tmp_path / "other.npz", seed=1)
    text = (
        r"^this is not as the run was begun: the data: 24 pictures as before, but not the same ones, or not in the same"
    )
    refused(run, text, data=other)
    refused(run, "came '.*none', which does not exist", NotFoundError, data=tmp_path / "none")


def test_data_that_changed_in_its_place_is_refused(tmp_path: Path) -> None:
    place = pictures_file(tmp_path / "mine.npz")
    begin(place, tmp_path / "run", steps=1)
    pictures_file(place, n=23)
    text = (
        r"begun: the data: 24 → 23 pictures \(fingerprint: [0-9a-f]{12} → [0-9a-f]{12}\)\. --accept-changes goes on all"
    )
    refused(tmp_path / "run", text)


def test_pictures_repainted_in_their_place_are_refused(tmp_path: Path) -> None:
    place, out = tmp_path / "pictures", tmp_path / "run"
    place.mkdir()
    for i in range(8):
        Image.new("L", (8, 8), 20 * i).save(place / f"{i}.bmp")
    begin(place, out, steps=1)
    Image.new("L", (8, 8), 255).save(place / "3.bmp")
    refused(
        out, r"the data: 8 pictures as before, but not the same ones, .* \(contents: [0-9a-f]{12} → [0-9a-f]{12}\)\."
    )
    record = json.loads((out / "run.json").read_text())
    del record["contents"]  # as in a run that was begun before contents were on record
    (out / "run.json").write_text(json.dumps(record))
    begin(place, out, resume=True, steps=2)
    assert last_step(out) == 2


def test_another_precision_is_refused(run: Path) -> None:
    refused(run, r"this is not as the run was begun: precision: float32 → bfloat16\.", precision="bfloat16")


def test_a_run_goes_on_with_its_own_threads(data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path, steps=1, threads=2)
    assert torch.get_num_threads() == 1, "as before the training"
    assert json.loads((tmp_path / "run.json").read_text())["threads"] == 2
    refused(tmp_path, r"this is not as the run was begun: threads: 2 → 1\.", threads=1)
    begin(None, tmp_path, resume=True, steps=2)
    assert json.loads((tmp_path / "run.json").read_text())["threads"] == 2 and last_step(tmp_path) == 2


def test_a_run_is_gone_on_with_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data, which was typed as a relative path, is recorded from the root on."""
    pictures_file(tmp_path / "mine.npz")
    monkeypatch.chdir(tmp_path)
    begin("mine.npz", tmp_path / "run", steps=1)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    begin(None, tmp_path / "run", resume=True, steps=2)
    (tmp_path / "mine.npz").rename("mine.npz")
    text = (
        r"^the run's data was '.*mine\.npz', and is not there any more: say where it is now, as in sfumato train DATA"
    )
    refused(tmp_path / "run", text, NotFoundError)
    begin("mine.npz", tmp_path / "run", resume=True, steps=3)
    begin(None, tmp_path / "run", resume=True, steps=4)


def test_a_run_goes_on_in_its_own_precision(data: Path, tmp_path: Path) -> None:
    for precision in ("bfloat16", "float32"):
        out = tmp_path / precision
        begin(data, out, precision=precision, steps=1)
        begin(None, out, resume=True, precision=None, steps=2)
        assert json.loads((out / "run.json").read_text())["precision"] == precision and last_step(out) == 2


@pytest.mark.parametrize("way", ["below", "relative", "link", "linked data", "in it"])
def test_data_that_the_runs_own_sheets_would_be_in_is_refused(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for i in range(8):
        (photos / "kind").mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 9 * i).save(photos / "kind" / f"{i}.png")
    data, out = photos, photos / "run"
    if way == "relative":
        monkeypatch.chdir(photos / "kind")
        data, out = Path(".."), Path("../run")
    elif way == "link":
        (photos / "more").symlink_to(tmp_path / "runs")
        (tmp_path / "runs").mkdir()
        out = tmp_path / "runs" / "one"
    elif way == "linked data":
        (tmp_path / "link").symlink_to(photos)
        data = tmp_path / "link"
    elif way == "in it":
        begin(photos, tmp_path / "run", steps=1)
        data, out = tmp_path / "run" / "samples", tmp_path / "run"
    with pytest.raises(InputError, match="so that previews would become data: choose a folder beside the data"):
        begin(data, out, steps=2, resume=way == "in it")
    assert way == "in it" or not out.exists()


def test_a_hidden_folder_in_the_data_may_hold_a_run(tmp_path: Path) -> None:
    for i in range(8):
        Image.new("L", (8, 8), 9 * i).save(tmp_path / f"{i}.png")
    begin(tmp_path, tmp_path / ".runs" / "one", steps=1)
    begin(None, tmp_path / ".runs" / "one", resume=True, steps=2)


def edit(run: Path, **values: Any) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | values))


def test_another_version_is_refused(run: Path) -> None:
    edit(run, sfumato="0.0.1")
    refused(run, r"this is not as the run was begun: sfumato: 0\.0\.1 → 0\.1\.0\.")


def test_another_format_is_refused(run: Path) -> None:
    edit(run, format=1)
    refused(run, r"run\.json is in format 1; this version of Sfumato reads format 2$")


@pytest.mark.parametrize(
    ("settings", "options"),
    [(["train.batch=4"], {}), ([], {"precision": "bfloat16"}), ([], {"recipe": "digits", "settings": "small"})],
)
def test_a_change_can_be_accepted(settings: list[str], options: dict[str, Any], run: Path) -> None:
    if options.get("settings") == "small":
        from small_runs import SMALL

        settings, options = [*SMALL, "optimizer.clip=0.5"], {"recipe": "digits"}
    begin(None, run, *settings, resume=True, accept_changes=True, steps=3, **options)
    assert last_step(run) == 3
    begin(None, run, resume=True, steps=4, precision=options.get("precision", "float32"))
    assert last_step(run) == 4, "and from then on it is the run's own"


def test_a_change_that_the_checkpoint_does_not_fit_stays_refused(run: Path) -> None:
    text = r"does not fit this run: network\..* is (missing|\(.*\), not \(.*\))$"
    refused(run, text, settings=["network.width=16"], accept_changes=True)


def test_a_change_that_is_accepted_is_noted(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sfumato")
    edit(run, sfumato="0.0.1")
    begin(None, run, resume=True, accept_changes=True, steps=3)
    assert "accepted: sfumato: 0.0.1 → 0.1.0" in caplog.messages


def test_a_resume_without_room_changes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "log.jsonl").write_text('{"step": 7}\n')
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=10))
    refused(run, r"run needs 1 MB of space and there are 0 MB free: make room", StorageError)


def test_a_run_that_fitted_the_disk_can_be_gone_on_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has written needs no space again: with as much as a state is, it goes on."""
    out = tmp_path / "run"
    begin(data, out, "train.save_minutes=0", steps=2)
    state = newest(out).stat().st_size
    used = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=state + 1000))
    begin(None, out, resume=True, steps=3)
    assert 14 / 4 * state > state + used * 0.9, "which all of it would not have fitted into"
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=state // 2))
    with pytest.raises(StorageError, match="needs 1 MB"):
        begin(None, out, resume=True, steps=4)


def test_where_there_is_no_run_there_is_none_to_resume(tmp_path: Path) -> None:
    for out in (tmp_path / "none", tmp_path):
        with pytest.raises(ResumeError, match=r"^there is no run to resume in .*: it holds no run\.json$"):
            begin(None, out, resume=True, steps=2)
    assert not (tmp_path / "none").exists() and not list(tmp_path.iterdir())


HALF = ['{"format": 2}', '{"format": 2, "recipe": {}}', '{"format": 2, "recipe": 5}']


@pytest.mark.parametrize("text", ["", "{", "[]", *HALF])
def test_a_damaged_record_says_so(text: str, run: Path) -> None:
    (run / "run.json").write_text(text)
    refused(run, r"run\.json", (FormatError, ResumeError, InputError))  # type: ignore[arg-type]


def test_a_folder_in_use_is_refused_and_left_alone(run: Path, data: Path, tmp_path: Path) -> None:
    before = everything(run)
    with pytest.raises(
        InputError, match="run is not empty: --resume goes on with it; or choose a new folder with --out$"
    ):
        begin(data, run, steps=2)
    assert everything(run) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="mine is not empty: choose a new folder with --out$"):
        begin(data, tmp_path / "mine", steps=2)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_folder_with_only_the_rest_of_a_killed_start_may_be_used(data: Path, tmp_path: Path) -> None:
    """A process killed while it wrote run.json leaves a folder that --resume cannot take up either."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("run.json", "pictures.npy"):
        left(out / name)
    begin(data, out, steps=1)
    assert last_step(out) == 1 and not list(out.glob(".*"))


@pytest.mark.parametrize("name", ["pictures.npy", "letter.txt", "run.json.part"])
def test_a_start_leaves_other_peoples_files_alone(name: str, data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("dear")
    for where in (tmp_path / "none", data):
        with pytest.raises(InputError):
            begin(where, tmp_path / "mine", steps=1)
        assert everything(tmp_path / "mine").keys() == {name}


def test_hidden_files_do_not_make_a_folder_one_in_use_and_stay(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / ".x.part").mkdir(parents=True)
    (out / "lost+found").mkdir()
    theirs = (".DS_Store", "Thumbs.db", "lost+found/z", ".film.part", ".x.part/y")
    for name in theirs:
        (out / name).write_text("mine")
    with pytest.raises(NotFoundError, match="does not exist"):
        begin(tmp_path / "none", out, steps=1)
    begin(data, out, steps=1)
    begin(None, out, resume=True, steps=2)
    assert last_step(out) == 2
    assert all((out / name).read_text() == "mine" for name in theirs)


def test_a_start_that_fails_removes_what_it_made_and_no_more(data: Path, tmp_path: Path) -> None:
    settings = ["data.background=[0,0,256]"]
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "a" / "b"):
        with pytest.raises(InputError, match="background"):
            begin(data, out, *settings, steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"] and not list((tmp_path / "empty").iterdir())


def test_many_pictures_are_kept_under_a_name_of_our_own(data: Path, tmp_path: Path) -> None:
    """What a start that was killed left of them does not stand in the way of another."""
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sfumato.train.data_recipe.prepare", partial(prepare, memory=0))
        patch.setattr("sfumato.train.run.Run.make", dies)
        with pytest.raises(Death):
            begin(data, out, steps=1)
        assert not out.exists()
        out.mkdir()
        RunFolder(out).cache.write_bytes(b"whole or half")
        patch.undo()
        patch.setattr("sfumato.train.data_recipe.prepare", partial(prepare, memory=0))
        begin(data, out, steps=1)
    assert np.load(RunFolder(out).cache).shape == (24, 1, 8, 8)


def test_an_empty_folder_may_be_used(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    begin(data, tmp_path / "run", steps=1)
    assert last_step(tmp_path / "run") == 1


BUDGETS = [
    (dict(steps=0), "--steps must be more than 0 and at most [0-9,]+, not 0$"),
    (dict(steps=-1), "--steps must be more than 0 and at most [0-9,]+, not -1$"),
    (dict(steps=10**9), "--steps must be more than 0 and at most 100,000,000, not"),
    (dict(images=0), "--images must be more than 0"),
    (dict(minutes=0.0), "--minutes must be more than 0"),
    (dict(minutes=float("nan")), "--minutes must be more than 0 and at most [0-9,]+, not nan$"),
    (dict(minutes=float("inf")), "--minutes must be more than 0"),
    (dict(steps=1.5), "--steps must be a whole number, not 1.5$"),
    (dict(steps=True), "--steps must be a whole number, not True$"),
    (dict(images="8"), "--images must be a whole number, not '8'$"),
    (dict(minutes="3"), "--minutes must be a number, not '3'$"),
    (dict(steps=2, minutes=1.0), "give one of --steps, --images, --epochs and --minutes, not several$"),
    (dict(steps=2, images=5), "give one of --steps, --images, --epochs and --minutes, not several$"),
]


@pytest.mark.parametrize(("budget", "text"), BUDGETS, ids=str)
def test_a_budget_that_is_none_is_refused(budget: dict[str, Any], text: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        begin(data, tmp_path / "run", **budget)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            ["network.patch=2", "data.size=[9,8]"],
            "a picture of 9×8 does not fit a U-Net of .*: .* the nearest that fits is 8×8$",
        ),
        (
            ["network.multipliers=[1,1,1,1,1]", "network.resample=residual"],
            "a picture of 8×8 does not fit a U-Net of 5 levels: .* is 16×16$",
        ),
        (["data.background=[0,0,256]"], r"background: expected \(red, green, blue\), each 0 to 255"),
        (["settings.steps=2000"], "steps must be between 1 and 1,000 for this schedule, not 2,000$"),
        (["schedule.max_beta=2"], "betas must lie between 0 and 1"),
        (["network.context=4"], "this network was built for 4 numbers in `context`"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_nothing(
    settings: list[str], text: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=text):
        begin(data, tmp_path / "run", *settings, steps=2)
    assert not (tmp_path / "run").exists()


def test_data_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^what to train on\\? give a folder of data"):
        begin(None, tmp_path / "run", steps=2)


# Checkpoints ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_cut_in_half_gives_way_to_the_one_before(run: Path, data: Path, tmp_path: Path) -> None:
    begin(data, tmp_path / "once", "train.save_minutes=0", steps=4)
    last = newest(run)
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    refused(
        run, r"step-000000002\.safetensors is .*; or delete it, and --resume goes on from the one before$", FormatError
    )
    last.unlink()
    assert last_step(run) == 1
    begin(None, run, resume=True, steps=4)
    assert digest(newest(run)) == digest(newest(tmp_path / "once"))


def rewrite(path: Path, change: Callable[[dict[str, torch.Tensor]], Any], about: dict[str, Any] | None = None) -> None:
    held, metadata = files.read_tensors(path)
    held = {name: tensor.clone() for name, tensor in held.items()}
    change(held)
    files.write_tensors(path, held, metadata if about is None else about)


def without(part: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(held: dict[str, torch.Tensor]) -> None:
        for name in [name for name in held if name.startswith(f"{part}.")]:
            del held[name]

    return change


@pytest.mark.parametrize("part", ["network", "average", "exp_avg", "exp_avg_sq"])
def test_a_checkpoint_that_lacks_a_part_is_refused_and_changes_nothing(part: str, run: Path, data: Path) -> None:
    rewrite(newest(run), without(part))
    refused(run, rf"step-000000002\.safetensors does not fit this run: {part}\..* is missing$")
    own = trainer(data, run.parent / "other")
    before = weights(own)
    with pytest.raises(ResumeError):
        checkpoint.load_checkpoint(newest(run), own.network, own.average, own.optimizer)
    assert equal(weights(own), before) and not own.optimizer.state


def test_a_checkpoint_of_another_shape_is_refused(run: Path) -> None:
    rewrite(newest(run), lambda held: held.update({"average.enter.bias": torch.zeros(9)}))
    refused(run, r"does not fit this run: average\.enter\.bias is \(9,\), not \(8,\)$")


ODD: list[Any] = [None, "2", True, -3, 2.0, float("inf"), [2]]


@pytest.mark.parametrize(
    "about", [{}, {"format": 2, "step": 2}, {"format": 1}, *({"format": 1, "step": step} for step in ODD)], ids=str
)
def test_a_checkpoint_of_another_format_is_refused(about: dict[str, Any], run: Path) -> None:
    rewrite(newest(run), lambda held: None, about)
    refused(run, r"step-000000002\.safetensors is not a checkpoint that this version of Sfumato reads$")


def test_a_checkpoint_under_the_name_of_another_is_refused(run: Path) -> None:
    newest(run).rename(run / "checkpoints" / "step-000000003.safetensors")
    refused(run, r"step-000000003\.safetensors is the checkpoint of step 2 by what it says: give it its own name back$")


def test_files_of_other_names_are_no_checkpoints(run: Path) -> None:
    for name in ("step-zzz.safetensors", "step-000000009.safetensors.bak", "step-٠٠٠٠٠٠٠٠٩.safetensors"):
        (run / "checkpoints" / name).write_bytes(b"mine")
    (run / "checkpoints" / "step-000000008.safetensors").mkdir()
    begin(None, run, resume=True, steps=3)
    assert last_step(run) == 3 and (run / "checkpoints" / "step-zzz.safetensors").read_bytes() == b"mine"


def test_pictures_seen_are_counted_though_the_batch_changes(run: Path) -> None:
    """Two steps of 8; three of 4 reach 28 pictures, which `images` asks for."""
    system = begin(None, run, "train.batch=4", resume=True, accept_changes=True, images=27)
    assert last_step(run) == 5 and system.about["pictures seen"] == 28
    begin(None, run, resume=True, images=30)
    assert last_step(run) == 6
    rewrite(newest(run), lambda held: None, {"format": 1, "step": 6})
    assert begin(None, run, resume=True, steps=7).about["pictures seen"] == 28, "of old ones by the batch"


def test_a_bit_that_flipped_in_a_checkpoint_is_noticed(run: Path) -> None:
    data = bytearray(newest(run).read_bytes())
    data[-1000] ^= 0x40
    newest(run).write_bytes(data)
    refused(run, "is damaged", FormatError)


def test_a_checkpoint_runs_no_code(run: Path) -> None:
    import pickle

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (run.parent / "ran",)

    newest(run).write_bytes(pickle.dumps(Canary()))
    refused(run, "is not a whole safetensors file", FormatError)
    assert not (run.parent / "ran").exists()


def test_the_same_state_gives_the_same_bytes(run: Path, data: Path, tmp_path: Path) -> None:
    own = trainer(data, tmp_path / "other")
    own.resume(newest(run))
    again = checkpoint.save_checkpoint(
        tmp_path / "again", own.step, own.network, own.average, own.optimizer, seen=own.seen
    )
    assert own.step == 2 and own.seen == 16 and digest(again) == digest(newest(run))


def test_old_checkpoints_go_only_when_the_new_one_is_there(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(run / "checkpoints")
    own = trainer(data, run)
    own.resume(newest(run))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(StorageError, match="no space to write"):
        checkpoint.save_checkpoint(run / "checkpoints", 3, own.network, own.average, own.optimizer)
    assert everything(run / "checkpoints") == before and len(checkpoints(run)) == 2


# Signals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_a_second_acts(number: signal.Signals) -> None:
    class Acted(Exception):
        pass

    def act(*_: Any) -> None:
        raise Acted

    before = signal.signal(number, act)
    try:
        with Stopper() as stopper:
            assert stopper.signal is None
            signal.raise_signal(number)
            assert stopper.signal == number
            with pytest.raises(Acted):
                signal.raise_signal(number)
        with Stopper() as stopper:
            pass
        with pytest.raises(Acted):
            signal.raise_signal(number)
        assert stopper.signal is None
    finally:
        signal.signal(number, before)


def test_another_thread_catches_no_signal(data: Path, tmp_path: Path) -> None:
    done: list[Any] = []

    def work() -> None:
        with Stopper() as stopper:
            done.append(stopper.signal)
        own.run(Budget(1))
        done.append(own.step)

    own = trainer(data, tmp_path)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [None, 1]
