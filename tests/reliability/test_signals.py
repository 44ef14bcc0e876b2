"""Signals at any step: what was reached is saved within the step, and each has its own exit code."""

import random
import signal
from pathlib import Path

import pytest
from scale import counts

import sfumato
from train.nursery import Child, Nursery
from train.small_runs import SMALL, checkpoints, last_step, tensors

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="children are forked, on POSIX systems")

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(nursery: Nursery, data: Path, out: Path, step: int, *numbers: int) -> Child:
    """Begin a run that would not save for an hour, with signals in the middle of a step."""
    settings = [word for setting in (*SMALL, "train.save_minutes=60") for word in ("--set", setting)]
    words = ("train", str(data), "--recipe", "digits", "--out", str(out), "--steps", "1000", *settings)
    return nursery.start(*words, "--device", "cpu", "--precision", "float32", first=("signalled", step, *numbers))


def goes_on(nursery: Nursery, out: Path) -> None:
    steps = max(last_step(out), 0) + 1
    again = nursery.start("train", "--out", str(out), "--resume", "--steps", str(steps), "--device", "cpu")
    assert again.end() == 0 and last_step(out) == steps, again.stderr.read_text()


@counts("times", 9, 180)
def test_a_signal_saves_within_the_step(times: int, nursery: Nursery, data: Path, tmp_path: Path) -> None:
    rng = random.Random(times)
    for k in range(times):
        out, step, number = tmp_path / str(k), rng.randint(1, 9), SIGNALS[k % 3]
        child = start(nursery, data, out, step, number)
        assert child.end() == 128 + number, child.stderr.read_text()
        assert child.stderr.read_text().splitlines()[-1].startswith(f"sfumato: stopped by a signal at step {step}; all")
        assert last_step(out) == step == sfumato.load(out, "cpu", "float32").about["steps"]
        if k < 3:
            goes_on(nursery, out)


@counts("times", 1, 20)
def test_a_second_signal_does_not_wait_and_costs_nothing_that_was_saved(
    times: int, nursery: Nursery, data: Path, tmp_path: Path
) -> None:
    rng = random.Random(times)
    for k in range(times):
        out, number = tmp_path / str(k), rng.choice((signal.SIGTERM, signal.SIGINT))
        child = start(nursery, data, out, rng.randint(1, 9), number, number)
        assert child.end() in (-number, 128 + number), child.stderr.read_text()
        assert all(tensors(path) for path in checkpoints(out)), "what is there is whole"
        goes_on(nursery, out)
