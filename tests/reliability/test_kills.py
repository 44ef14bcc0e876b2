"""Runs that are killed, at any moment and in the middle of a save, end with the bytes of one that was not."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from scale import counts

import sfumato
from train.nursery import Child, Nursery
from train.small_runs import SMALL, checkpoints, digest, last_step, newest, tensors

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

SETTINGS = (*SMALL, "network.dropout=0.1", "data.flip=true", "train.save_minutes=0", "train.show_minutes=99")
EVENTS = {"open": 9, "os.rename": 4, "os.remove": 2}
"""What is done to files in a save, and how often in the saves of two steps."""


def start(nursery: Nursery, data: Path, out: Path, steps: int, *first: object) -> Child:
    """Begin the run, or go on with it once it is on record."""
    place = ("--steps", str(steps), "--device", "cpu", "--precision", "float32")
    if (out / "run.json").exists():
        return nursery.start("train", "--out", str(out), "--resume", *place, first=first)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ("train", str(data), "--recipe", "digits", "--out", str(out), *settings)
    return nursery.start(*words, *place, first=first)


def finish(nursery: Nursery, data: Path, out: Path, steps: int) -> dict[str, str]:
    """Go on to the end; the bytes of what is left: weights, average, moments and step, and the system."""
    last = start(nursery, data, out, steps)
    assert last.end() == 0, last.stderr.read_text()
    assert last_step(out) == steps and tensors(newest(out)).keys() >= {"average.enter.weight", "exp_avg.enter.weight"}
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == steps
    assert not list(out.rglob("*.part"))
    return {path.name: digest(path) for path in (newest(out), *(out / "system").iterdir())}


def assert_whole(out: Path) -> None:
    """All that is there under its own name can be read."""
    assert all(tensors(path) for path in checkpoints(out))
    if (out / "system" / "system.json").exists():
        sfumato.load(out, "cpu", "float32")


Once = Callable[[int], dict[str, str]]


@pytest.fixture(scope="module")
def once(nursery: Nursery, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What a run of so many steps leaves that nobody kills."""
    return cache(lambda steps: finish(nursery, data, tmp_path_factory.mktemp("once") / "run", steps))


@counts("times", 25, 500)
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    times: int, nursery: Nursery, data: Path, tmp_path: Path, once: Once
) -> None:
    rng, out = random.Random(times), tmp_path / "killed"
    for _ in range(times):
        child, goal = start(nursery, data, out, 10**6), last_step(out) + rng.randint(1, 2)
        child.until(lambda goal=goal: last_step(out) >= goal)
        time.sleep(rng.random() * 0.05)
        seen = last_step(out)
        child.send(signal.SIGKILL)
        assert child.end() == -signal.SIGKILL, child.stderr.read_text()
        assert last_step(out) >= seen, "what was saved is there"
        assert_whole(out)
    steps = last_step(out) + 2
    assert finish(nursery, data, out, steps) == once(steps)


@pytest.mark.parametrize("part", ["checkpoints", "system"])
@pytest.mark.parametrize("event", EVENTS)
@counts("times", 10, 100)
def test_a_run_killed_inside_a_save_ends_with_the_same_bytes(
    times: int, event: str, part: str, nursery: Nursery, data: Path, tmp_path: Path, once: Once
) -> None:
    """The last kill is in the last save of all."""
    rng, out, note, steps = random.Random(times), tmp_path / "killed", tmp_path / "note", 3 * times
    kills = 0
    while kills < times:
        last = kills == times - 1
        occurrence, until = (1, steps) if last else (rng.randint(1, EVENTS[event]), last_step(out) + 2)
        hook = ("killed", str(out), event, part, occurrence, steps if last else 0, str(note))
        child = start(nursery, data, out, until, *hook)
        if (code := child.end()) == -signal.SIGKILL:
            kills += 1
            assert max(last_step(out), 0) >= json.loads(note.read_text()) - 1, "at most one interval is lost"
        else:
            assert code == 0, child.stderr.read_text()
        assert_whole(out)
    assert finish(nursery, data, out, steps) == once(steps)
