"""Processes that make batches ahead, and die or hang: one clear error in time, all saved, and none left over."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scale import counts

from sfumato.errors import WorkerError
from sfumato.train import loader
from sfumato.train.batches import Batches
from sfumato.train.plan import Budget
from sfumato.train.trainer import Trainer
from train.small_runs import digest, newest, trainer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")

STEPS = 6
HARM: dict[str, tuple[Callable[[], Any], str]] = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), r"ended \(SIGKILL\), before step \d"),
    "terminated": (lambda: os.kill(os.getpid(), signal.SIGTERM), r"ended \(SIGTERM\), before step \d"),
    "ended": (lambda: os._exit(3), r"ended \(exit code 3\), before step \d"),
    "stopped": (lambda: os.kill(os.getpid(), signal.SIGSTOP), r"have given none for 4 s, before step \d"),
    "hung": (lambda: time.sleep(600), r"have given none for 4 s, before step \d"),
}


def ahead(data: Path, out: Path) -> Trainer:
    own = trainer(data, out, "network.dropout=0.1", "train.save_minutes=99", "train.show_minutes=99")
    own.workers = 2
    return own


@pytest.mark.parametrize("harm", HARM)
@counts("times", 1, 10)
def test_a_worker_that_comes_to_harm_costs_one_error_and_no_step(
    times: int, harm: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "SECONDS_A_LOOK", 2.0)
    monkeypatch.setattr(loader, "PATIENCE", 2)
    (once := ahead(data, tmp_path / "once")).run(Budget(STEPS))
    make, (act, text) = Batches.__getitem__, HARM[harm]
    for k in range(times):
        at = random.Random(f"{harm} {k}").randint(1, STEPS - 1)

        def harmed(self: Batches, step: int, at: int = at) -> Any:
            if step == at and torch.utils.data.get_worker_info() is not None:
                act()
            return make(self, step)

        out, began = tmp_path / f"run-{k}", time.monotonic()
        with monkeypatch.context() as patch, pytest.raises(WorkerError, match=text) as caught:
            patch.setattr(Batches, "__getitem__", harmed)
            own = ahead(data, out)
            own.run(Budget(STEPS))
        assert "\n" not in str(caught.value) and time.monotonic() - began < 60
        assert not multiprocessing.active_children(), "no orphan is left"
        own = ahead(data, out)
        own.resume(newest(out))
        assert own.step <= at
        own.run(Budget(STEPS))
        assert digest(newest(out)) == digest(newest(tmp_path / "once")) and own.step == once.step
