"""Runs of the command line that are killed at any moment, and go on as if they had not been."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from nursery import Child, Nursery
from small_runs import SMALL, begin, checkpoints, digest, everything, last_step, newest, tensors

import sfumato

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

SETTINGS = (*SMALL, "network.dropout=0.1", "data.flip=true", "train.save_minutes=0", "train.show_minutes=99")


def words(data: Path, out: Path, steps: int, *more: str) -> list[str]:
    settings = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    return ["train", str(data), "--recipe", "digits", "--out", str(out), "--steps", str(steps), *settings, *PLACE]


PLACE = ["--device", "cpu", "--precision", "float32"]


def start(nursery: Nursery, data: Path, out: Path, steps: int, *more: str) -> Child:
    """Begin the run, or go on with it once it is on record."""
    if (out / "run.json").exists():
        return nursery.start("train", "--out", str(out), "--resume", "--steps", str(steps), *PLACE)
    return nursery.start(*words(data, out, steps, *more))


def kill(nursery: Nursery, data: Path, out: Path, steps: int, rng: random.Random, *more: str) -> None:
    """Start, and kill a few steps later, at no particular moment of a step."""
    before, child = last_step(out), start(nursery, data, out, steps, *more)
    goal = before + rng.randint(1, 3)
    child.until(lambda: last_step(out) >= goal and (out / "system" / "system.json").exists())
    time.sleep(rng.random() * 0.03)
    seen = last_step(out)
    child.send(signal.SIGKILL)
    assert child.end() == -signal.SIGKILL, child.stderr.read_text()
    assert last_step(out) >= seen, "what was saved is there"
    for path in checkpoints(out):
        assert tensors(path), "and whole"
    sfumato.load(out, "cpu", "float32")


def killed_often(nursery: Nursery, data: Path, folder: Path, times: int, *more: str) -> None:
    steps, rng = times * 7, random.Random(times)
    once = start(nursery, data, folder / "once", steps, *more)
    assert once.end() == 0, once.stderr.read_text()
    out = folder / "killed"
    for _ in range(times):
        kill(nursery, data, out, steps, rng, *more)
    last = start(nursery, data, out, steps)
    assert last.end() == 0, last.stderr.read_text()
    assert last_step(out) == steps and digest(newest(out)) == digest(newest(folder / "once"))
    one, other = (
        {path.name: digest(path) for path in (run / "system").glob("[!.]*")} for run in (out, folder / "once")
    )
    assert one == other and len(one) == 2
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()][-1] == steps


def test_a_killed_run_whose_times_follow_the_losses_remembers_them(
    nursery: Nursery, data: Path, tmp_path: Path
) -> None:
    chain, times = '{"kind":"linear","T":4,"beta_end":0.5}', '{"kind":"importance","history":2}'
    killed_often(nursery, data, tmp_path, 2, f"schedule={chain}", f"times={times}")
    memory = tensors(newest(tmp_path / "killed"))["memory"]
    assert memory.shape == (4, 2) and memory.isfinite().all()


@pytest.mark.parametrize("moment", range(4))
def test_a_run_killed_before_its_first_save_can_begin_again(
    moment: int, nursery: Nursery, data: Path, tmp_path: Path
) -> None:
    """Either nothing is on record, and it begins anew, or it is, and --resume does."""
    out = tmp_path / "run"
    child = start(nursery, data, out, 2)
    if moment == 3:
        child.until((out / "run.json").exists)
    else:
        time.sleep(0.02 + 0.1 * moment)
    child.send(signal.SIGKILL)
    assert child.end() in (-signal.SIGKILL, 0)
    again = start(nursery, data, out, 3)
    assert again.end() == 0, again.stderr.read_text()
    begin(data, tmp_path / "once", *SETTINGS, steps=3)
    assert digest(newest(out)) == digest(newest(tmp_path / "once"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_has_its_own_exit_code(
    number: signal.Signals, code: int, nursery: Nursery, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    child = nursery.start(*words(data, out, 10**6), "--set", "train.save_minutes=99")
    child.until((out / "log.jsonl").exists)  # a second after the first step; nothing is saved yet
    assert not checkpoints(out)
    child.send(number)
    assert child.end() == code
    last = child.stderr.read_text().splitlines()[-1]
    step = last_step(out)
    assert last == f"sfumato: stopped by a signal at step {step:,}; all is saved: --resume goes on from here"
    assert step >= 1 and sfumato.load(out, "cpu", "float32").about["steps"] == step
    again = start(nursery, data, out, step + 1)
    assert again.end() == 0 and last_step(out) == step + 1, again.stderr.read_text()


def test_a_second_signal_does_not_wait(nursery: Nursery, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    child = start(nursery, data, out, 10**6)
    child.until(lambda: last_step(out) >= 1)
    child.send(signal.SIGTERM)
    while True:  # until one arrives before the save is done
        try:
            child.send(signal.SIGTERM)
        except ProcessLookupError:
            break
        time.sleep(0.001)
        if (status := child_state(child.pid)) in ("Z", ""):
            break
        assert status
    assert child.end() in (143, -signal.SIGTERM)
    assert all(tensors(path) for path in checkpoints(out)), "what is there is whole"


def child_state(pid: int) -> str:
    """The letter by which Linux names a process's state; Z is one that has ended."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def test_an_error_leaves_nothing_and_exits_with_two(nursery: Nursery, data: Path, tmp_path: Path) -> None:
    child = nursery.start(*words(data, tmp_path / "run", 2), "--set", "data.size=[8,7]", "--set", "network.patch=2")
    assert child.end() == 2
    lines = child.stderr.read_text().splitlines()
    assert lines[-1].startswith("sfumato: a picture of 8×7 does not fit a U-Net")
    assert not (tmp_path / "run").exists() and not everything(tmp_path)
