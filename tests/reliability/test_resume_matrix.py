"""A run that is stopped twice and resumed, in every combination of what a training may be, is the run that was not."""

import itertools
import os
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sfumato.train.trainer import Trainer
from train.nursery import Nursery
from train.small_runs import begin, digest, newest, tensors

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")

SETTINGS = (
    "network.dropout=0.2",
    "data.flip=true",
    "condition.dropout=0.3",
    "network.multipliers=[1,2]",
    "network.attention=[1]",
)
STEPS = 5
AVERAGES = {
    "power": {"kind": "power"},
    "constant": {"kind": "constant", "rate": 0.9},
    "none": {"kind": "constant", "rate": 0.0},
}


class Case(NamedTuple):
    """Two dozen pictures in batches of eight: an epoch ends after three steps."""

    processes: int
    precision: str
    accumulate: int
    stop: int
    workers: int
    average: str


CASES = [Case(*case) for case in itertools.product((1, 2), ("float32", "bfloat16"), (1, 2), (2, 3), (0, 2), AVERAGES)]
EVERY_COMMIT = {case for k, case in enumerate(CASES) if k % 6 == k // 6 % 6}


def settings(case: Case) -> list[str]:
    average = str(AVERAGES[case.average]).replace("'", '"')
    return [*SETTINGS, f"train.accumulate={case.accumulate}", f"average={average}"]


Once = Callable[[int, str, str], Path]


@pytest.fixture(scope="module")
def once(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """The run that was not stopped."""

    @cache
    def run(accumulate: int, average: str, precision: str) -> Path:
        out = tmp_path_factory.mktemp("once") / "run"
        begin(data, out, *settings(Case(1, precision, accumulate, 0, 0, average)), steps=STEPS, precision=precision)
        return newest(out)

    return run


def side_by_side(nursery: Nursery, out: Path, case: Case, steps: int) -> None:
    """Go on with a run by several processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    world = {"WORLD_SIZE": str(case.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    words = ("train", "--out", str(out), "--resume", "--steps", str(steps), "--device", "cpu")
    children = [
        nursery.start(
            *words,
            "--precision",
            case.precision,
            first=("with_workers", case.workers),
            environment={**world, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
        )
        for rank in range(case.processes)
    ]
    for child in children:
        assert child.end() == 0, child.stderr.read_text()


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.release] * (case not in EVERY_COMMIT)) for case in CASES], ids=str
)
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    case: Case, nursery: Nursery, once: Once, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit; by another number of processes in between, to 1e-6, or in bfloat16 to how that rounds."""
    monkeypatch.setattr(
        Trainer, "workers", property(lambda self: case.workers, lambda self, value: None), raising=False
    )
    out, options = tmp_path / "run", {"precision": case.precision}
    begin(data, out, *settings(case), steps=case.stop, **options)
    if case.processes == 1:
        torch.manual_seed(1)
        begin(None, out, resume=True, steps=STEPS - 1, **options)
    else:
        side_by_side(nursery, out, case, STEPS - 1)
    begin(None, out, resume=True, steps=STEPS, **options)
    wanted = once(case.accumulate, case.average, case.precision)
    if case.processes == 1:
        assert digest(newest(out)) == digest(wanted)
        return
    one, other = tensors(wanted), tensors(newest(out))
    furthest = max(float((one[name] - other[name]).abs().max()) for name in one)
    assert one.keys() == other.keys() and furthest <= (1e-6 if case.precision == "float32" else 1e-3)


def test_every_commit_sees_sixteen_of_ninety_six_cases_and_every_value() -> None:
    assert (len(EVERY_COMMIT), len(CASES)) == (16, 96)
    for field in Case._fields:
        seen: Any = {getattr(case, field) for case in EVERY_COMMIT}
        assert seen == {getattr(case, field) for case in CASES}
